/*
 * The store: one record, and what the processes know of it. There are no version numbers. Instead,
 * what a process knows says how many versions it is behind the store.
 */

mtype = { CLOSED, SUSPECT, OPEN, HALF }            /* a record; a circuit is CLOSED, OPEN or */
mtype = { PROBING }                                /* half-open, with a probe in flight */
mtype = { WELL, SHUT, MINE }                       /* what is known: closed or suspect; open or half; half, and one's own */
mtype = { NONE, DOUBT, HELD, LOST }                /* a lease; LOST: a later version is known */
mtype = { NOTHING, ASKS, READ, WON, ERROR }        /* a call: about to write; or the answer on its way */
mtype = { VOTE, LEASE, SUCCESS, FAILURE, IGNORED } /* what is written */

mtype state = CLOSED
bool  over /* the open time or the lease, on the store's clock; also where d is 0 */
byte  owner
byte  votes, failed /* sets of processes */

bool calm /* from now on nothing fails but what BROKEN sends */

typedef Item {
	mtype what = WELL
	byte  behind
}

typedef Member {
	mtype circuit = CLOSED
	Item  known
	bool  doubts
	bool  asking
	mtype lease = NONE
	bool  lapsed         /* the lease is over by the process's clock */
	bool  slow           /* the lease is over, but not by the process's clock */
	mtype call = NOTHING
	Item  got            /* the answer to call; while it ASKS, what that is about */
	mtype late = NOTHING /* a write that was given up and may still come through */
	bool  reads          /* a read in the background is under way */
	Item  news           /* the answer to it */
	bool  dead
}
Member m[3]

hidden byte wasWell, fresh, seen

#define bit(p)     (1 << (p))
#define count(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define shut       (state == OPEN || state == HALF)
#define mine(p)    (state == HALF && owner == (p))

#if READS
/* tidy closes the gaps in what p knows: only the order matters. */
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
#else
/* tidy: nothing is under way that is older than what is known; and what is read
   again before it is written over may as well be old. */
inline tidy(p) {
	if :: m[p].got.behind > 1 -> m[p].got.behind = 1 :: else fi
	if
	:: m[p].known.behind > 1 || m[p].doubts || (m[p].known.what != WELL && m[p].lease != HELD) -> m[p].known.behind = 1
	:: else
	fi
}
#endif

/* outdate is for a new version in the store. */
inline outdate(p) {
	m[p].late = NOTHING /* it will lose */
	m[p].known.behind++
	if :: m[p].call != NOTHING -> m[p].got.behind++ :: else fi
	if :: m[p].reads -> m[p].news.behind++ :: else fi
	tidy(p)
}

/* look is what the store answers to p. */
inline look(p, item) {
	if
	:: mine(p) -> item.what = MINE
	:: shut && !mine(p) -> item.what = SHUT
	:: !shut -> item.what = WELL
	fi
	item.behind = 0
}

/* put stores what p has written. */
inline put(p, kind) {
	if /* check.sh wants each of these to happen: otherwise the proof would prove nothing */
	:: kind == LEASE && state == HALF && owner != p -> seen = 1 /* another's lease is taken over */
	:: kind == SUCCESS && over -> seen = 2  /* a verdict comes late, but before anybody has taken over */
	:: kind == FAILURE && failed -> seen = 3 /* a round ends */
	:: kind == VOTE && votes -> seen = 4    /* a quorum has voted */
	:: else
	fi
	d_step {
		/* (a) A verdict takes the place of the lease that it is about, and of nothing else. */
		assert(kind == VOTE || kind == LEASE || mine(p))
		/* (b) A lease that is not over is ended by nobody but its owner. */
		assert(!(state == HALF && !over && owner != p))
		if
		:: kind == VOTE ->
			votes = votes | bit(p)
			state = (count(votes) >= QUORUM -> OPEN : SUSPECT)
			votes = (state == OPEN -> 0 : votes)
			over = false
		:: kind == LEASE -> state = HALF; over = false
		:: kind == SUCCESS -> state = CLOSED; over = false; failed = 0
		:: kind == FAILURE ->
			state = OPEN
			failed = failed | bit(p)
			over = (count(failed) < PROBES)
			failed = (over -> failed : 0)
		:: kind == IGNORED -> state = OPEN; over = true
		fi
		owner = (state == HALF -> p : 0)
		outdate(0); outdate(1); outdate(2)
	}
}

/* Between a call and its answer, others may come. It takes a second activity of
   the same process to notice that they came before the answer. */
#if READS
#define gap }; atomic {
#else
#define gap
#endif

inline load(p) {
	if
	:: m[p].call = READ; look(p, m[p].got)
	:: !calm -> m[p].call = ERROR
	fi
}

/* swap writes if no version is newer than the known one. It is done, or it has lost, or the process
   does not know. */
inline swap(p, kind) {
	if
	:: swaps(kind) -> put(p, kind); m[p].call = WON; look(p, m[p].got)
	:: !swaps(kind) -> m[p].call = READ; look(p, m[p].got)
	:: !calm -> m[p].call = ERROR
	:: !calm && swaps(kind) -> put(p, kind); m[p].call = ERROR
#ifdef LATE
	:: !calm && swaps(kind) -> m[p].late = kind; m[p].call = ERROR
#endif
	fi
	d_step { tidy(p) }
}

/* done is for an answer that has been taken in. */
inline done(p) {
	d_step {
		m[p].call = NOTHING; m[p].got.what = WELL; m[p].got.behind = 0
		tidy(p)
	}
}
