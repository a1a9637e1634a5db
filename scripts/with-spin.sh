#!/bin/sh
# Usage: with-spin.sh COMMAND...
#
# Runs COMMAND in the repository's root if there are spin, which checks models,
# and a C compiler, which it needs. What is missing is installed where this
# machine lets us; where it does not, COMMAND is left out, and with CI=true that
# is an error.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build

has() { command -v "$1" >/dev/null; }
for package in spin gcc; do
	has $package && continue
	if has apt-get && [ "$(id -u)" = 0 ]; then
		echo "installing $package" >&2
		{ apt-get update && apt-get install -y --no-install-recommends $package libc6-dev; } \
			>"build/install-$package.log" 2>&1 || tail -n 5 "build/install-$package.log" >&2
	fi
	has $package && continue
	echo "This machine lacks $package (a package of most systems): not run: $*" >&2
	[ "${CI:-}" != true ]
	exit
done
exec "$@"
