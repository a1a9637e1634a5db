/*
 * The protocol of package fleet, for three processes, one host and one record.
 * README.md says what is modelled, what is left out, and how to read a trail.
 *
 * Time has no figures. That an open time or a lease is over is an event, which
 * comes whenever it likes but not before what must come first. Versions have
 * none either: of each that a process knows, the model keeps how far it is
 * behind the store's, no further than the order tells.
 */

#ifndef QUORUM
#define QUORUM 2 /* of votes */
#endif
#ifndef PROBES
#define PROBES QUORUM /* failed ones, of different processes, that end a round */
#endif
#define N      3
#define BROKEN 0 /* fails with a well host too, always or now and then; may crash */
#define LIVES  1 /* never crashes */
                 /* 2 may crash */

mtype = { CLOSED, SUSPECT, OPEN, HALF }           /* of a record; of a circuit the first and third */
mtype = { PROBING }                               /* a circuit with a probe in flight */
mtype = { WELL, SHUT, MINE }                      /* what is known: closed or suspect; open or half; half, and this process's */
mtype = { NONE, DOUBT, HELD, LOST }               /* a lease; LOST: a later version is known */
mtype = { NOTHING, ASKED, READ, WON, ERROR }      /* a call of the store */
mtype = { VOTE, LEASE, SUCCESS, FAILURE, IGNORED } /* what is written */

/* The store's record. */
mtype state = CLOSED
bool  over   /* the open time or the lease; also if there is none, d = 0 */
byte  owner
byte  votes  /* sets of processes: 1 << process */
byte  failed

/* An answer of the store's on its way, or the knowledge it has led to. */
typedef Answer {
	mtype what = WELL
	byte  behind /* 0: as the store has it */
}

typedef Member {
	mtype circuit = CLOSED
	Answer known
	bool  doubts
	bool  asking
	mtype lease = NONE
	bool  lapsed  /* the lease is over by the process's clock */
	bool  stopped /* the lease is over, but the process's clock had stood still */
	mtype call = NOTHING
	Answer got    /* from call; while that is ASKED, the version it is about */
	mtype late = NOTHING /* a write that has timed out and is still on its way */
	bool  reads   /* a background read has its answer */
	Answer news   /* that answer */
	bool  dead
}
Member m[N]

bool up = true /* the host is well */
bool calm      /* from now on nothing fails but BROKEN, and the host stays as it is */

#define bit(p)     (1 << (p))
#define count(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define shut       (state == OPEN || state == HALF)

/* tidy closes the gaps in the order of what p knows, lest versions count up. */
inline rank(p, r) {
	if
	:: m[p].known.behind != r && !(m[p].call != NOTHING && m[p].got.behind == r) && !(m[p].reads && m[p].news.behind == r) ->
		if :: m[p].known.behind > r -> m[p].known.behind-- :: else fi
		if :: m[p].got.behind > r -> m[p].got.behind-- :: else fi
		if :: m[p].news.behind > r -> m[p].news.behind-- :: else fi
	:: else
	fi
}
inline tidy(p) {
	rank(p, 3); rank(p, 2); rank(p, 1)
}

/* older is for a new version in the store. */
inline older(p) {
	m[p].known.behind++
	if :: m[p].call != NOTHING -> m[p].got.behind++ :: else fi
	if :: m[p].reads -> m[p].news.behind++ :: else fi
	tidy(p)
	m[p].late = NOTHING /* its version is gone */
}

/* look is what the store answers p. */
inline look(p, a) {
	if
	:: state == HALF && owner == p -> a.what = MINE
	:: shut && !(state == HALF && owner == p) -> a.what = SHUT
	:: !shut -> a.what = WELL
	fi
	a.behind = 0
}

/* put stores what p writes. Whether p may is for the caller to know. */
inline put(p, kind) {
	/* (b) Only its holder ends a lease that is not over. */
	assert(!(state == HALF && !over && owner != p))
	/* (a) A verdict takes the place of the lease it is about, and of nothing else. */
	assert(kind == VOTE || kind == LEASE || (state == HALF && owner == p))
	if
	:: kind == VOTE ->
		votes = votes | bit(p)
		if
		:: count(votes) >= QUORUM -> state = OPEN; votes = 0; failed = 0
		:: else -> state = SUSPECT
		fi
		over = false
	:: kind == LEASE -> state = HALF; over = false
	:: kind == SUCCESS -> state = CLOSED; over = false; failed = 0
	:: kind == FAILURE ->
		failed = failed | bit(p)
		state = OPEN
		over = (count(failed) < PROBES)
		if :: !over -> failed = 0 :: else fi
	:: kind == IGNORED -> state = OPEN; over = true
	fi
	owner = (state == HALF -> p : 0)
	older(0); older(1); older(2)
}

/* load calls the store, and READ or ERROR is on its way. */
inline load(p) {
	if
	:: m[p].call = READ; look(p, m[p].got)
	:: !calm -> m[p].call = ERROR; m[p].got.behind = 0
	fi
}

/* ask makes the write that swap will try. */
inline ask(p) {
	m[p].call = ASKED; m[p].got.behind = m[p].known.behind
}

#ifdef NO_FENCING
#define mayPut(p, kind) (m[p].got.behind == 0 || kind != VOTE && kind != LEASE)
#else
#define mayPut(p, kind) (m[p].got.behind == 0)
#endif

inline swap(p, kind) {
	if
	:: mayPut(p, kind) -> put(p, kind); m[p].call = WON; look(p, m[p].got)
	:: !mayPut(p, kind) -> m[p].call = READ; look(p, m[p].got)
	:: !calm -> m[p].call = ERROR; m[p].got.behind = 0
	:: !calm && mayPut(p, kind) -> put(p, kind); m[p].call = ERROR; m[p].got.behind = 0
	:: !calm && mayPut(p, kind) -> m[p].late = kind; m[p].call = ERROR
	fi
	if :: m[p].call == ERROR -> m[p].got.what = WELL :: else fi
	tidy(p)
}

/* done takes the answer off its way. */
inline done(p) {
	m[p].call = NOTHING; m[p].got.behind = 0; m[p].got.what = WELL; tidy(p)
}

inline give_up(p) {
	m[p].lease = NONE; m[p].lapsed = false; m[p].stopped = false
}

inline follow(p) {
	if
	:: m[p].circuit == PROBING
	:: m[p].circuit != PROBING && m[p].known.what == WELL -> m[p].circuit = CLOSED
	:: m[p].circuit != PROBING && m[p].known.what != WELL -> m[p].circuit = OPEN
	fi
}

inline take(p, a) {
	if
	:: m[p].lease == HELD && a.behind != m[p].known.behind -> m[p].lease = LOST
	:: m[p].lease == DOUBT && a.what == MINE -> m[p].lease = HELD
	:: m[p].lease == DOUBT && a.what != MINE -> give_up(p)
	:: else
	fi
	m[p].known.what = a.what
	m[p].known.behind = a.behind
	m[p].doubts = false
}

inline learn(p, a) {
	if
	:: a.behind > m[p].known.behind /* older than what is known */
	:: else ->
		wasWell = (m[p].known.what == WELL)
		take(p, a)
		if
		:: m[p].known.what == MINE && (m[p].asking || m[p].lease == HELD)
		:: m[p].known.what == WELL && wasWell
		:: else -> follow(p)
		fi
		wasWell = false
	fi
}

/* probesForAll counts only who takes its lease for one that is not over, with a
   clock that has not stood still. */
#define probesForAll(p) (m[p].circuit == PROBING && m[p].lease == HELD && !m[p].lapsed && !m[p].stopped)
inline alone() {
	/* (b) Nor do two processes probe for all at a time. */
	assert(probesForAll(0) + probesForAll(1) + probesForAll(2) <= 1)
}

/* barred: an onlooker. What is behind the store's says anything. */
#ifdef TAKEOVER_EARLY
#define early true
#else
#define early false
#endif
#define barred(p) ((!over && !early && m[p].known.what != MINE) || (failed & bit(p)))
#define stale(p)  (m[p].known.behind > 0)

proctype Process(byte me) {
	mtype say
	bool wasWell
	{
	say = NOTHING
end_idle:
	if
	:: atomic { m[me].circuit == CLOSED && (!up || me == BROKEN) -> m[me].circuit = OPEN; say = VOTE; goto publish }
	:: atomic { m[me].circuit == OPEN -> load(me); goto elect }
	fi

elect: /* Elect, and the circuit's Elected */
	atomic {
		if
		:: m[me].call == ERROR -> done(me); goto elected
		:: else -> learn(me, m[me].got); done(me)
		fi
		if
		:: m[me].known.what == WELL -> goto elected
		:: m[me].known.what != WELL && (stale(me) || barred(me)) -> goto refused
		:: m[me].known.what != WELL && (stale(me) || !barred(me)) ->
			give_up(me); m[me].asking = true; ask(me)
		fi
	}
	atomic { swap(me, LEASE) }
	atomic {
		m[me].asking = false
		if
		:: m[me].call == ERROR -> m[me].lease = DOUBT; m[me].doubts = true; done(me); goto elected
		:: m[me].call == WON -> take(me, m[me].got); m[me].lease = HELD; done(me); goto elected
		:: m[me].call == READ -> give_up(me); learn(me, m[me].got); done(me)
		fi
		if
		:: m[me].known.what == WELL -> goto elected
		:: else -> goto refused
		fi
refused:
		if :: m[me].circuit == OPEN :: else fi
		goto end_idle
elected:
		if
		:: m[me].circuit == OPEN -> m[me].circuit = PROBING; alone()
		:: m[me].circuit == CLOSED -> say = IGNORED; goto publish
		fi
	}

	atomic {
		if
		:: up -> m[me].circuit = CLOSED; say = SUCCESS
		:: !up || me == BROKEN -> m[me].circuit = OPEN; say = FAILURE
		:: !calm -> m[me].circuit = OPEN; say = IGNORED
		fi
	}

publish: /* Tripped, Probed, Released */
	atomic {
		if
		:: m[me].doubts -> load(me)
		:: !m[me].doubts -> goto resolved
		fi
	}
	atomic {
		if
		:: m[me].call == ERROR -> done(me); give_up(me); say = NOTHING; goto end_idle
		:: m[me].call == READ -> learn(me, m[me].got); done(me)
		fi
resolved:
		assert(m[me].lease != DOUBT)
		if
		:: say == VOTE || (m[me].lease == NONE && say == FAILURE) -> goto vote
		:: m[me].lease == NONE && say != VOTE && say != FAILURE -> say = NOTHING; goto end_idle
		:: say != VOTE && (m[me].lease == LOST || m[me].lease == HELD && (m[me].lapsed || !calm)) ->
			give_up(me); follow(me); say = NOTHING; goto end_idle
		:: say != VOTE && m[me].lease == HELD && !m[me].lapsed -> ask(me)
		fi
	}
	atomic { swap(me, say) }
	atomic {
		give_up(me)
		if
		:: m[me].call == ERROR -> m[me].doubts = true
		:: m[me].call == WON -> take(me, m[me].got)
		:: m[me].call == READ -> learn(me, m[me].got)
		fi
		done(me); say = NOTHING; goto end_idle
vote:
		say = NOTHING
		if
		:: m[me].known.what == WELL -> ask(me)
		:: else -> goto end_idle
		fi
	}
	atomic { swap(me, VOTE) }
	atomic {
		if
		:: m[me].call == ERROR -> m[me].doubts = true; done(me); goto end_idle
		:: m[me].call == WON -> take(me, m[me].got); done(me); goto end_idle
		:: m[me].call == READ -> learn(me, m[me].got); done(me); goto vote
		:: m[me].call == READ -> learn(me, m[me].got); done(me); goto end_idle
		fi
	}
	} unless { m[me].dead }
}

/* busy: p will give its verdict on the record before the lease is over. */
#define busy(p) (!m[p].dead && !m[p].lapsed && (m[p].asking || m[p].lease == DOUBT || m[p].lease == HELD))
#define waits(p) (!m[p].dead && !(failed & bit(p)))

inline crash(p) {
	m[p].dead = true
	m[p].circuit = CLOSED; m[p].doubts = false; m[p].asking = false
	give_up(p)
	m[p].known.what = WELL; m[p].known.behind = 0
	m[p].call = NOTHING; m[p].got.what = WELL; m[p].got.behind = 0
	m[p].reads = false; m[p].news.what = WELL; m[p].news.behind = 0
}

/* A background read matters if it could change anything. */
#define behind(p) (!m[p].dead && (m[p].known.behind > 0 || m[p].doubts || m[p].circuit == CLOSED && m[p].known.what != WELL))

#define EACH(act, p) :: atomic { act(p) }

active proctype World() {
	bool wasWell
	atomic { run Process(0); run Process(1); run Process(2) }
end:
	do
	:: atomic { !calm -> calm = true; up = true }
	:: atomic { !calm -> up = !up }
	:: atomic { shut && !over && !(calm && state == HALF && busy(owner)) ->
		over = true
		if
		:: state == HALF && busy(owner) ->
			if
			:: m[owner].lapsed = true
			:: m[owner].stopped = true
			fi
		:: else
		fi
	}
	:: atomic { failed && !(calm && state == OPEN && (waits(0) || waits(1) || waits(2))) -> failed = 0 }
	:: atomic { votes -> votes = 0 }
	:: atomic { !calm && !m[0].dead -> crash(0) }
	:: atomic { !calm && !m[2].dead -> crash(2) }
	:: atomic { m[0].late != NOTHING -> put(0, m[0].late) }
	:: atomic { m[1].late != NOTHING -> put(1, m[1].late) }
	:: atomic { m[2].late != NOTHING -> put(2, m[2].late) }
#ifdef ATOMIC_READS
	:: atomic { behind(0) -> m[0].reads = true; look(0, m[0].news); learn(0, m[0].news); m[0].reads = false; m[0].news.what = WELL; tidy(0); alone() }
	:: atomic { behind(1) -> m[1].reads = true; look(1, m[1].news); learn(1, m[1].news); m[1].reads = false; m[1].news.what = WELL; tidy(1); alone() }
	:: atomic { behind(2) -> m[2].reads = true; look(2, m[2].news); learn(2, m[2].news); m[2].reads = false; m[2].news.what = WELL; tidy(2); alone() }
#endif
	od
}
