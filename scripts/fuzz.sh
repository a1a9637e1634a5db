#!/bin/sh
# Usage: fuzz.sh DURATION
#
# Fuzzes every target of the workspace for DURATION, one after the other.
set -eu
cd "$(dirname "$0")/.."

# go test lists a package's targets, then a line "ok <package> <time>".
listing=$(go test -list '^Fuzz' work)
echo "$listing" | awk '
	/^Fuzz/      { targets[++n] = $1 }
	$1 == "ok"   { for (i = 1; i <= n; i++) print $2, targets[i]; n = 0 }
' | while read -r package target; do
	echo "$package $target"
	# Left to itself, the fuzzer may spend the whole time on making an input shorter.
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$1" -fuzzminimizetime=10x "$package"
done
