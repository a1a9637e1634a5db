#!/bin/sh
# Prints the path of the OpenTelemetry Collector that deploy/e2e/builder.yaml
# describes. Where there is none yet, it is built first, which takes minutes; it
# is kept in the user's cache folder until the description changes.
set -eu
cd "$(dirname "$0")/.."

manifest=$PWD/deploy/e2e/builder.yaml
version=$(sed -n 's/^  version: //p' "$manifest")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/breakerhttp
collector=$cache/collector-$version-$(cksum <"$manifest" | cut -d ' ' -f 1)

if ! [ -x "$collector" ]; then
	echo "building the Collector $version" >&2
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/build.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	sed "s|^dist:|&\n  output_path: $work|" "$manifest" >"$work/builder.yaml"
	GOWORK=off nice go run "go.opentelemetry.io/collector/cmd/builder@v$version" \
		--config="$work/builder.yaml" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
	mv "$work/collector" "$collector"
fi
echo "$collector"
