#!/bin/sh
# Usage: cover.sh PERCENT
#
# Runs the root module's tests without the race detector, under which they skip
# what it would falsify, and fails if they reach less than PERCENT of the
# statements of the root package or of an internal one.
set -eu
cd "$(dirname "$0")/.."

dir=$PWD/build/cover
rm -rf "$dir"
mkdir -p "$dir"

# Packages that are tests alone have no statements to cover; those that only help tests need no tests.
packages=$(go list -f '{{if .GoFiles}}{{.ImportPath}}{{end}}' . ./internal/... |
	grep -v -e /pipetest -e /faultserver -e /servertest -e /snippettest | paste -s -d , -)
status=0
go test -coverpkg="$packages" ./... -args -test.gocoverdir="$dir" >"$dir.txt" || status=$?

go tool covdata percent -i="$dir" | awk -v least="$1" '
	{ print $1, $3; if ($3 + 0 < least) short = short " " $1 }
	END { if (short) { print "below " least "%:" short; exit 1 } }
' || status=1
cat "$dir.txt"
exit $status
