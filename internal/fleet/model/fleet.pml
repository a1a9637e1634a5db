/*
 * The protocol of package fleet, for three processes and one host. README.md says what is modelled,
 * what is left out, and how to read a trail.
 *
 * There are no figures for times: that an open time or a lease is over is an event, which may come
 * at any moment at which it is possible.
 */

#define BROKEN 0 /* has a broken network, always or now and then; may crash */
#define LIVES  1 /* has a working network, and does not crash */
#define MORTAL 2 /* has a working network, and may crash */

#ifndef READS
#define READS 0 /* in the background: 0 between requests, 1 at any time, 2 with answers that take their time */
#endif

#include "broken.pml"
#include "store.pml"
#include "member.pml"

proctype Process(byte me) {
	mtype say /* what is to be published */
	{
	say = NOTHING
end_ready: /* a request comes: it fails, or the circuit is open and asks */
	atomic {
		if
		:: m[me].circuit == CLOSED && (!calm || me == BROKEN) -> m[me].circuit = OPEN; say = VOTE; goto publish
		:: m[me].circuit == OPEN -> load(me)
		fi
		if
		:: m[me].call == ERROR -> done(me); goto elected
		:: else
		fi
		gap
		heed(me)
		if
		:: m[me].known.what == WELL -> goto elected
		:: m[me].known.what != WELL && (!fresh || barred(me)) -> goto end_ready
		:: m[me].known.what != WELL && mayAsk(me) ->
			m[me].asking = true; m[me].call = ASKS; m[me].got.behind = (fresh -> 0 : 1)
		fi
	}
	atomic {
		fresh = (m[me].got.behind == 0)
		giveUp(me)
		swap(me, LEASE)
		gap
		m[me].asking = false
		if
		:: m[me].call == ERROR ->
#ifdef TRUST_DOUBT
			m[me].lease = HELD
#else
			m[me].lease = DOUBT; m[me].doubts = true
#endif
			done(me)
		:: m[me].call == WON -> take(me, m[me].got); m[me].lease = HELD; done(me)
		:: m[me].call == READ ->
			giveUp(me); heed(me)
			if
			:: m[me].known.what == WELL
			:: else -> goto end_ready
			fi
		fi
elected:
		if
		:: m[me].circuit == OPEN -> m[me].circuit = PROBING; alone()
		:: m[me].circuit == CLOSED -> say = IGNORED; goto publish /* it has followed others meanwhile */
		fi
	}
	atomic {
		if /* what the probe has met */
#ifdef DOWN
		:: !calm -> m[me].circuit = CLOSED; say = SUCCESS
		:: m[me].circuit = OPEN; say = FAILURE
#else
		:: m[me].circuit = CLOSED; say = SUCCESS
		:: !calm || me == BROKEN -> m[me].circuit = OPEN; say = FAILURE
#endif
#ifdef NO_HANDOVER
		:: !calm -> goto kept
#else
		:: !calm -> m[me].circuit = OPEN; say = IGNORED
#endif
		fi
publish:
		if
		:: m[me].doubts -> load(me)
		:: !m[me].doubts -> goto resolved
		fi
		if
		:: m[me].call == ERROR -> done(me); giveUp(me); say = NOTHING; goto end_ready
		:: else
		fi
		gap
		heed(me)
resolved:
		fresh = (m[me].known.behind == 0)
		assert(m[me].lease != DOUBT)
		if
		:: say == VOTE || m[me].lease == NONE && say == FAILURE -> goto vote
		:: m[me].lease == NONE && (say == SUCCESS || say == IGNORED) -> say = NOTHING; goto end_ready
		:: say != VOTE && (m[me].lease == LOST || m[me].lease == HELD && (m[me].lapsed || !calm)) ->
			giveUp(me); follow(me); say = NOTHING; goto end_ready
		:: say != VOTE && m[me].lease == HELD && !m[me].lapsed -> swap(me, say)
		fi
		gap
		giveUp(me); say = NOTHING
		if
		:: m[me].call == ERROR -> m[me].doubts = true; done(me)
		:: m[me].call == WON -> take(me, m[me].got); done(me)
		:: m[me].call == READ -> heed(me)
		fi
		goto end_ready
vote:
		say = NOTHING
		fresh = (m[me].known.behind == 0)
		if
		:: m[me].known.what == WELL -> swap(me, VOTE)
		:: else -> goto end_ready
		fi
		gap
		if
		:: m[me].call == ERROR -> m[me].doubts = true; done(me)
		:: m[me].call == WON -> take(me, m[me].got); done(me)
		:: m[me].call == READ -> heed(me); goto vote
		:: m[me].call == READ -> heed(me) /* it has tried often enough */
		fi
		goto end_ready
	}
#ifdef NO_HANDOVER
kept:	false
#endif
	} unless { m[me].dead }
}

/* awaited: another process asks before those whose probe has failed may ask again. */
#define waits(p) (!m[p].dead && !(failed & bit(p)))
#define awaited  (state == OPEN && (waits(0) || waits(1) || waits(2)))

/* World is everything else that happens: time, crashes, late writes, background reads. */
active proctype World() {
	atomic {
		run Process(0); run Process(1); run Process(2)
#ifdef TWO
		crash(MORTAL)
#endif
	}
end:
	do
#ifdef CALM
	:: atomic { !calm -> calm = true }
#endif
	:: atomic { shut && !over && !(state == HALF && outlasts(owner)) ->
		over = true
#ifdef CLOCKS
		if
		:: state == HALF && ticks(owner) ->
			if
			:: m[owner].lapsed = true
			:: m[owner].slow = true
			fi
		:: else
		fi
#endif
	}
#ifndef NO_FORGETTING
	:: atomic { failed && !(calm && awaited) -> failed = 0 }
#endif
	:: atomic { votes -> votes = 0 }
	:: atomic { !calm && !m[BROKEN].dead -> crash(BROKEN) }
#ifndef TWO
	:: atomic { !calm && !m[MORTAL].dead -> crash(MORTAL) }
#endif
#ifdef LATE
	:: atomic { m[0].late != NOTHING -> put(0, m[0].late) }
	:: atomic { m[1].late != NOTHING -> put(1, m[1].late) }
	:: atomic { m[2].late != NOTHING -> put(2, m[2].late) }
#endif
#if READS < 2
	:: atomic { due(0) -> send(0); arrive(0) }
	:: atomic { due(1) -> send(1); arrive(1) }
#ifndef TWO
	:: atomic { due(2) -> send(2); arrive(2) }
#endif
#else
	:: atomic { due(LIVES) && !m[LIVES].reads -> send(LIVES) }
	:: atomic { m[LIVES].reads -> arrive(LIVES) }
#endif
	od
}

#ifdef CALM
#define refuses(p) (m[p].circuit == OPEN)

/* (c) An open record is always followed by a closed one. */
ltl closes { [] ((calm && shut) -> <> (state == CLOSED)) }

/* (d) No process waits for ever: what it has begun ends, */
#define ready(p, pid) (m[p].dead || Process[pid]@end_ready)
ltl returns { [] (calm -> ([]<> ready(0, 1) && []<> ready(1, 2) && []<> ready(2, 3))) }

/* and where it refuses, it comes to probe or to be closed. */
ltl admits { [] (calm -> ([]<> !refuses(0) && []<> !refuses(1) && []<> !refuses(2))) }

/* In the end BROKEN keeps no other process out. */
ltl settles { (<> calm) -> <>[] (m[LIVES].circuit == CLOSED && !shut) }

/* While the host is down, the fleet never stops asking it. */
ltl asks { [] ((calm && shut) -> <> (state == HALF || state == CLOSED)) }
#endif
