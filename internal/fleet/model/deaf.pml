/*
 * Processes that are deaf to a record, and records that are dead. The store refuses writes or loses
 * all records, processes are reset, and probe without a lease. There are two processes, and each of
 * their calls of the store is one step: fleet.pml has what can happen between a call and its answer.
 */

mtype = { CLOSED, OPEN, PROBING }                      /* a circuit */
mtype = { GONE, WELL, SUSPECT, OPENED, ROUND, LEASED } /* a record; OPENED: for OpenFor or longer; ROUND: open with d = 0 */
mtype = { SUCCESS, FAILURE, IGNORED }                  /* what a probe meets */

mtype rec = GONE
bool over    /* the open time or the lease */
bool dead    /* and one lease time more */
bool healthy /* of a suspect: it has w */
byte owner, votes, failed

bool down     /* the host is */
bool refusing /* the store refuses writes */
bool calm     /* from now on nothing changes any more, whether the store refuses writes or not */

typedef Process {
	mtype circuit = CLOSED
	bool  deaf
	bool  old    /* the record was there when it went deaf */
	bool  lease
	bool  closed /* the fleet has closed the record since the circuit opened */
	bool  found  /* a process has found the host healthy since the circuit opened */
}
Process p[2]

#define bit(i)  (1 << (i))
#define both(s) ((s) == 3)
#define shut    (rec == OPENED || rec == ROUND || rec == LEASED)

#ifdef NEVER_DEAD
#define live shut
#else
#define live (shut && !dead)
#endif

#ifdef HEARS
#define deaf(i) false
#else
#define deaf(i) p[i].deaf
#endif

#define holds(i) (live && !deaf(i) && !(rec == LEASED && owner == i && p[i].lease))

#ifdef VOTE_CLOSES
#define clears(i) (rec == WELL || rec == SUSPECT)
#elif defined(FLUSH_CLOSES)
#define clears(i) (rec == GONE || (rec == WELL || rec == SUSPECT && healthy) && p[i].closed)
#else
#define clears(i) ((rec == WELL || rec == SUSPECT && healthy) && p[i].closed)
#endif

/* kept: no vote replaces the record. */
#ifdef VOTE_OVER_LEASE
#define kept (rec == OPENED && !dead)
#else
#define kept live
#endif

/* mute: the process writes nothing over a record that it is deaf to. */
#ifdef DUMB
#define mute(i) (p[i].deaf && p[i].old)
#else
#define mute(i) false
#endif

/* news: a read would change something. */
#define news(i) (p[i].circuit == CLOSED && holds(i) || p[i].circuit == OPEN && clears(i) || p[i].deaf && !p[i].old && (rec == WELL || rec == SUSPECT || rec == OPENED && owner != i))

inline put(i, what) {
	/* (g) A lease that is not over is ended by nobody but its owner. */
	assert(!(rec == LEASED && !over && owner != i))
	rec = what; owner = i; over = (what == ROUND); dead = false
	healthy = (what == SUSPECT && healthy)
	votes = (what == SUSPECT -> votes : 0)
	p[0].old = false; p[1].old = false
}

inline flush() {
	rec = GONE; owner = 0; over = false; dead = false; healthy = false; votes = 0
	p[0].old = false; p[1].old = false
}

inline opens(i) { p[i].circuit = OPEN; p[i].closed = false; p[i].found = false }

inline read(i) {
	d_step {
		if
		:: p[i].deaf && !p[i].old && (rec == WELL || rec == SUSPECT || rec == OPENED && owner != i) -> p[i].deaf = false
		:: else
		fi
		if
		:: p[i].circuit == CLOSED && holds(i) ->
			/* (e) A dead record opens no circuit. */
			assert(!dead)
			opens(i)
		:: p[i].circuit == OPEN && clears(i) ->
			/* (f) A circuit is closed by others only if the host was found healthy since it opened. */
			assert(p[i].found)
			p[i].circuit = CLOSED
		:: else
		fi
	}
}

inline deafen(i) { p[i].deaf = true; p[i].old = true }

/* vote is cast when the circuit has tripped, or a probe without a lease has failed. */
inline vote(i) {
	d_step {
		if
		:: mute(i) || refusing || kept
		:: else ->
			healthy = (rec == WELL || rec == SUSPECT && healthy)
			votes = votes | bit(i)
			if
			:: both(votes) -> put(i, OPENED)
			:: else -> put(i, SUSPECT)
			fi
		fi
		p[i].deaf = mute(i)
	}
}

/* verdict is that of a probe with a lease, or none if that is lost. */
inline verdict(i, how) {
	d_step {
		if
		:: !p[i].lease || refusing || rec != LEASED || owner != i
		:: else ->
			if
			:: how == SUCCESS -> failed = 0; put(i, WELL); p[0].closed = true; p[1].closed = true; p[i].deaf = false
			:: how == IGNORED -> put(i, ROUND)
			:: how == FAILURE ->
				failed = failed | bit(i)
				if
				:: both(failed) -> failed = 0; put(i, OPENED)
				:: else -> put(i, ROUND)
				fi
			fi
		fi
		p[i].lease = false
	}
}

#ifdef KEEPS_LEASE
#define release(i) skip
#else
#define release(i) verdict(i, IGNORED)
#endif

proctype Caller(byte me) {
	bool leased
end_ready:
	do
	:: atomic { p[me].circuit == CLOSED && down -> opens(me); vote(me) } /* its requests fail */
	:: atomic { p[me].circuit == OPEN ->                                 /* its own open time is over */
			read(me)
			if
			:: p[me].circuit == OPEN && (!shut || deaf(me)) -> p[me].circuit = PROBING /* alone */
			:: p[me].circuit == OPEN && shut && !deaf(me) && (!live || over && !(failed & bit(me))) ->
				if
				:: refusing
				:: !refusing -> put(me, LEASED); p[me].lease = true
				fi
				p[me].circuit = PROBING
			:: p[me].circuit == OPEN && live && !deaf(me) && (!over || failed & bit(me)) /* it looks on */
			:: p[me].circuit == CLOSED
			fi
		}
	:: atomic { p[me].circuit == PROBING ->
			leased = p[me].lease
			if
			:: !down -> p[me].circuit = CLOSED; p[0].found = true; p[1].found = true; deafen(me); verdict(me, SUCCESS)
			:: down ->
				opens(me); verdict(me, FAILURE)
				if
				:: leased
				:: !leased -> vote(me)
				fi
			:: !calm -> p[me].circuit = OPEN; verdict(me, IGNORED)
			fi
			leased = false
		}
	od
}

/* awaited: another process asks before one whose probe has failed may ask again. */
#define asks(i) (p[i].circuit != CLOSED && !(failed & bit(i)))
#define awaited (calm && rec == ROUND && !dead && (asks(0) || asks(1)))

active proctype World() {
	atomic { run Caller(0); run Caller(1) }
end:
	do
	:: atomic { !calm -> calm = true
#ifdef DOWN
		down = true; refusing = false
#else
		down = false
#endif
	}
	:: atomic { !calm -> down = !down }
	:: atomic { !calm -> refusing = !refusing }
	:: atomic { !calm && rec != GONE -> flush() }
	:: atomic { !calm && p[0].circuit != PROBING -> p[0].circuit = CLOSED; deafen(0) } /* Reset */
	:: atomic { !calm -> p[1].circuit = CLOSED; deafen(1); release(1) } /* Reset, on the prober too */
	:: atomic { shut && !over && !(calm && rec == LEASED && p[owner].lease) -> over = true }
	:: atomic { shut && over && !dead && !awaited -> dead = true }
	:: atomic { failed && !awaited -> failed = 0 }
	:: atomic { rec == SUSPECT && votes && !calm -> votes = 0 }
	:: atomic { news(0) && p[0].circuit != PROBING -> read(0) }
	:: atomic { news(1) && p[1].circuit != PROBING -> read(1) }
	od
}

#ifdef CALM
/* Once the host is healthy, no circuit stays open, or opens again and again, even if the store
   refuses writes for ever. */
ltl heals { (<> calm) -> <>[] (p[0].circuit == CLOSED && p[1].circuit == CLOSED) }

/* While the host is down, processes that were reset tell each other. */
ltl shares { [] (calm -> <> shut) }
#endif
