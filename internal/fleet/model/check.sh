#!/bin/sh
# Usage: check.sh [NAME...]
#
# Checks the model: all of it, or the runs of these names. Each run is an
# exhaustive search. What holds must hold without an error, and each statement of
# the model must be reached by some run. What is broken on purpose must be found,
# by the check that is named here. It needs spin, gcc, 2 GB and some minutes.
set -eu
model=$(cd "$(dirname "$0")" && pwd)
build=$model/../../../build/model

# name | want | options of the model | what it shows
# want is: holds, an LTL formula that holds, a letter in brackets for an assertion
# that fails, or a formula with a ! for one that does not hold. The model is
# fleet.pml unless the options begin with another file.
runs() {
	sed 's/ *| */|/g' <<-'TABLE'
		late-writes         | holds    | -DLATE                      | (a) (b) 3 processes, late writes
		clocks              | holds    | -DCLOCKS                    | (a) (b) 3 processes, their clocks
		reads               | holds    | -DTWO -DREADS=1 -DCLOCKS    | (a) (b) 2 processes, reads meanwhile
		slow-reads          | holds    | -DTWO -DREADS=2             | (a) (b) 2 processes, slow reads meanwhile
		closes              | closes   | -DCALM -DLATE               | (c) an open record is followed by a closed one
		returns             | returns  | -DCALM                      | (d) every call and every probe ends
		admits              | admits   | -DCALM                      | (d) no process refuses for ever
		settles             | settles  | -DCALM                      | a broken process keeps nobody else out
		asks                | asks     | -DCALM -DDOWN               | a host that is down is always asked again
		no-fencing          | (a)      | -DNO_FENCING                | a verdict is written whatever the version
		takeover-early      | (b)      | -DTAKEOVER_EARLY            | a lease is taken over before it is over
		trust-doubt         | (b)      | -DCLOCKS -DTRUST_DOUBT      | a swap without an answer counts as won
		lease-from-answer   | (b)      | -DCLOCKS -DLEASE_FROM_ANSWER -DTWO -DREADS=1 | a lease counts from the answer, not the call
		doubt-without-end   | (b)      | -DCLOCKS -DDOUBT_WITHOUT_END -DTWO -DREADS=1 | a lease found again counts from its call
		one-probe-a-round   | !closes  | -DCALM -DONE_PROBE_A_ROUND  | one failed probe ends a round
		ask-again           | !closes  | -DCALM -DASK_AGAIN          | a process that has failed may ask again at once
		no-takeover         | !closes  | -DCALM -DNO_TAKEOVER        | a lease is not taken over
		no-handover         | !closes  | -DCALM -DNO_HANDOVER        | a probe without a verdict keeps the lease
		no-end              | !returns | -DCALM -DNO_HANDOVER        | the same
		no-forgetting       | !admits  | -DCALM -DNO_FORGETTING      | a process that has failed may never ask again
		one-vote-opens      | !settles | -DCALM -DONE_VOTE_OPENS     | one vote opens the record
		down-no-forgetting  | !asks    | -DCALM -DDOWN -DNO_FORGETTING | the same, and the host stays down
		deaf                | holds    | deaf.pml                    | (e) (f) (g) a store that refuses writes or loses all, Reset
		heals               | heals    | deaf.pml -DCALM             | a healthy host is called again, whatever the store does
		shares              | shares   | deaf.pml -DCALM -DDOWN      | processes that were reset tell each other
		never-dead          | (e)      | deaf.pml -DNEVER_DEAD       | a record of yesterday opens a circuit
		vote-closes         | (f)      | deaf.pml -DVOTE_CLOSES      | a vote that the host is down closes a circuit
		flush-closes        | (f)      | deaf.pml -DFLUSH_CLOSES     | a record that is gone closes a circuit
		vote-over-lease     | (g)      | deaf.pml -DVOTE_OVER_LEASE  | a vote replaces a lease
		hears               | !heals   | deaf.pml -DCALM -DHEARS     | a process hears the record though it knows better
		keeps-lease         | !heals   | deaf.pml -DCALM -DKEEPS_LEASE | a process that is reset keeps its lease
		dumb                | !shares  | deaf.pml -DCALM -DDOWN -DDUMB | a process that is reset writes nothing over the record
	TABLE
}

die() { printf '%-19s FAILED: %s; see %s\n' "$name" "$1" "build/model/$name"; exit 1; }

# check NAME runs one line of the table in a folder of its own.
check() {
	name=$1
	line=$(runs | grep "^$name|") || die "no such run"
	IFS='|' read -r name want options shows <<-END
		$line
	END
	rm -rf "$build/$name"
	mkdir -p "$build/$name"
	cd "$build/$name"
	cp "$model"/*.pml .
	formula=${want#!} file=fleet.pml
	case $options in *.pml*)
		file=${options%% *}
		options=${options#"$file"}
		;;
	esac
	case $want in
	holds | '('*) compile=-DSAFETY search= ;;
	*) compile= search="-a -f -N $formula" ;; # -f: weak fairness
	esac
	depth=5000000
	case $want in '!'* | '('*) depth=50000 ;; esac # a trail should not be longer than it must
	# shellcheck disable=SC2086 # options are words
	{
		spin $options -a "$file" >spin.txt || die "spin: $(head -n 1 spin.txt)"
		gcc -O2 -w -DMEMLIM=3500 $compile -o pan pan.c || die "gcc"
		nice ./pan -w24 -m$depth $search >pan.txt 2>&1 || die "pan ended with $?"
	}
	judge
}

judge() {
	grep -q '^Full statespace search' pan.txt || die "no full search"
	states=$(awk '/states, stored/ { print $1 }' pan.txt)
	reached=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' pan.txt)
	seconds=$(sed -n 's/.*elapsed time \([0-9.]*\).*/\1/p' pan.txt)
	case $want in
	'!'*)
		grep -q 'acceptance cycle (at' pan.txt || die "not found out"
		replay
		;;
	'('*)
		grep -q 'assertion violated' pan.txt || die "not found out"
		replay
		line=$(sed -n 's/^spin: \([a-z]*\.pml\):\([0-9]*\), Error: assertion violated.*/\1 \2/p' replay.txt | head -n 1)
		# shellcheck disable=SC2086 # file and line
		failed=$(set -- $line && sed -n "$(($2 - 2)),$2p" "$1" | grep -o '^.*/\* ([a-z])' | grep -o '([a-z])' | tail -n 1)
		[ "$failed" = "$want" ] || die "found out by $failed at $line"
		;;
	*)
		grep -q 'errors: 0$' pan.txt || die "$(grep -m 1 -E 'violated|acceptance cycle|invalid end|errors:' pan.txt)"
		! grep -qE 'max search depth too small|out of memory|MEMLIM|not completed|aborted' pan.txt || die "the search was cut short"
		printf '%-19s ok      %9d states %9d deep %6.1f s  %s\n' "$name" "$states" "$reached" "$seconds" "$shows"
		return
		;;
	esac
	printf '%-19s caught  %9d states %9d deep %6.1f s  %s\n' "$name" "$states" "$reached" "$seconds" "$shows"
}

# replay shows that the error has a trail, and that this leads to it.
replay() {
	[ -s "$file.trail" ] || die "no trail"
	# shellcheck disable=SC2086 # options are words
	spin $options -t "$file" >replay.txt 2>&1 || true
	grep -qE 'assertion violated|START OF CYCLE' replay.txt || die "the trail leads nowhere"
}

# unreached prints the statements of the model that no run has reached. A statement
# of an inline is there once for each use of the inline, and has to be reached in
# one of them.
unreached() {
	runs | awk -F '|' '$2 !~ /^[!(]/ { print $1 }' | while read -r name; do
		cd "$build/$name"
		cat pan.txt
		./pan -d
	done | awk '
		/^unreached in / { kind = $3; process = $4; listing = 1; next }
		/^pan: elapsed/ { listing = 0 }
		listing && match($0, /state [0-9]+/) { skip[process, substr($0, RSTART + 6, RLENGTH - 6)] = 1 }
		/^proctype / { process = $2 }
		/^claim / { process = "" }
		/-\(tr/ && process != "" && match($0, /[a-z]+\.pml:[0-9]+ => .*/) {
			statement = substr($0, RSTART, RLENGTH)
			text = substr(statement, index(statement, "=>"))
			gsub(/[0-9]+|\[[a-z]*\]/, "", text)
			statement = substr(statement, 1, index(statement, " ")) text
			all[statement] = 1
			if (!((process, $2) in skip) || $0 ~ /-end-/) reached[statement] = 1
		}
		/^Transition Type/ { delete skip; process = "" }
		END { for (statement in all) if (!(statement in reached)) print statement }' | sort
}

case "${1:-}" in
-one)
	check "$2"
	exit
	;;
-unreached)
	unreached
	exit
	;;
esac

failed=0
if [ $# -gt 0 ]; then
	printf '%s\n' "$@"
else
	runs | cut -d '|' -f 1
fi | xargs -n 1 -P 2 "$0" -one || failed=1
if [ $# -eq 0 ] && [ $failed = 0 ]; then
	statements=$(unreached)
	if [ -n "$statements" ]; then
		printf 'No run reaches\n%s\n' "$statements"
		failed=1
	else
		echo "Every statement of the model is reached."
	fi
fi
exit $failed
