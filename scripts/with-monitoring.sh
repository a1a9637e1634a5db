#!/bin/sh
# Usage: with-monitoring.sh COMMAND...
#
# Runs COMMAND in the repository's root with the programs that the end-to-end test
# starts named in its environment:
#
#   COLLECTOR     what collector.sh builds
#   PROMETHEUS    prometheus, 2.42 or later
#   PROMTOOL      promtool
#   ALERTMANAGER  prometheus-alertmanager or alertmanager
#   AMTOOL        amtool
#
# What is set already is kept. What is not found is built, or installed where this
# machine lets us. With CI=true nothing may be missing.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build

# Debian starts a service that it installs, unless policy-rc.d forbids it.
install_packages() {
	policy=/usr/sbin/policy-rc.d
	if ! [ -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
	fi
	apt-get update && apt-get install -y --no-install-recommends prometheus prometheus-alertmanager
}

find_programs() {
	PROMETHEUS=${PROMETHEUS:-$(command -v prometheus || true)}
	PROMTOOL=${PROMTOOL:-$(command -v promtool || true)}
	ALERTMANAGER=${ALERTMANAGER:-$(command -v prometheus-alertmanager || command -v alertmanager || true)}
	AMTOOL=${AMTOOL:-$(command -v amtool || true)}
	missing=
	for variable in PROMETHEUS PROMTOOL ALERTMANAGER AMTOOL; do
		eval "[ -n \"\$$variable\" ]" || missing="$missing $variable"
	done
}

find_programs
if [ -n "$missing" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing prometheus and prometheus-alertmanager" >&2
	(install_packages) >build/install-monitoring.log 2>&1 || tail -n 5 build/install-monitoring.log >&2
	find_programs
fi
COLLECTOR=${COLLECTOR:-$(scripts/collector.sh)} || missing="$missing COLLECTOR"
export PROMETHEUS PROMTOOL ALERTMANAGER AMTOOL COLLECTOR

if [ "${CI:-}" = true ]; then
	if [ -n "$missing" ]; then
		echo "This machine lacks:$missing" >&2
		exit 1
	fi
	export BREAKERHTTP_REQUIRE_SERVERS=1
fi

status=0
"$@" || status=$?
if [ -n "$missing" ]; then
	echo "Tested without what this machine lacks:$missing (prometheus and alertmanager are packages of most systems)" >&2
fi
exit $status
