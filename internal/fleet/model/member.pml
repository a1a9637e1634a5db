/*
 * What a process does with an answer of the store: the methods of Member that hold its lock, and the
 * circuit that follows.
 */

inline giveUp(p) {
	m[p].lease = NONE; m[p].lapsed = false; m[p].slow = false
}

inline follow(p) {
	if
	:: m[p].circuit == PROBING
	:: m[p].circuit != PROBING && m[p].known.what == WELL -> m[p].circuit = CLOSED
	:: m[p].circuit != PROBING && m[p].known.what != WELL -> m[p].circuit = OPEN
	fi
}

inline resolveLease(p, item) {
	if
	:: m[p].lease == HELD && item.behind != m[p].known.behind -> m[p].lease = LOST
	:: m[p].lease == DOUBT && item.what == MINE -> m[p].lease = HELD; endOfDoubt(p, item)
	:: m[p].lease == DOUBT && item.what != MINE -> giveUp(p)
	:: else
	fi
}

inline take(p, item) {
	m[p].known.what = item.what
	m[p].known.behind = item.behind
	m[p].doubts = false
}

inline learn(p, item) {
	d_step {
		if
		:: item.behind > m[p].known.behind /* older than what is known */
		:: else ->
			wasWell = (m[p].known.what == WELL)
			resolveLease(p, item)
			take(p, item)
			if
			:: m[p].known.what == MINE && (m[p].asking || m[p].lease == HELD)
			:: m[p].known.what == WELL && wasWell
			:: else -> follow(p)
			fi
			wasWell = false
		fi
	}
}

/* heed learns the answer to a call. */
inline heed(p) {
	learn(p, m[p].got)
	fresh = (m[p].known.behind == 0)
	done(p)
}

/* alone is for a process that begins to probe, or finds that it has the lease. */
#define probesForAll(p) (m[p].circuit == PROBING && m[p].lease == HELD && !m[p].lapsed && !m[p].slow)
inline alone() {
#ifdef CLOCKS
	/* (b) Nor do two processes probe for all at a time, if their clocks go on. */
	assert(probesForAll(0) + probesForAll(1) + probesForAll(2) <= 1)
#else
	skip
#endif
}

inline crash(p) {
	d_step {
		m[p].dead = true
		m[p].circuit = CLOSED; m[p].doubts = false; m[p].asking = false
		giveUp(p)
		m[p].known.what = WELL; m[p].known.behind = 0
		m[p].call = NOTHING; m[p].got.what = WELL; m[p].got.behind = 0
		m[p].reads = false; m[p].news.what = WELL; m[p].news.behind = 0
	}
}

/* due: a background read could change something. Where a process does one thing
   at a time, an open circuit reads when it asks. */
#if READS
#define due(p) (!m[p].dead && (m[p].known.behind > 0 || m[p].doubts || m[p].circuit == CLOSED && m[p].known.what != WELL))
#else
#define due(p) (!m[p].dead && m[p].circuit == CLOSED && (m[p].known.behind > 0 || m[p].doubts || m[p].known.what != WELL))
#endif

inline send(p) {
	m[p].reads = true; look(p, m[p].news)
}

inline arrive(p) {
	learn(p, m[p].news)
	d_step {
		m[p].reads = false; m[p].news.what = WELL; m[p].news.behind = 0
		tidy(p)
	}
	alone()
}
