/*
 * The rules that can be broken on purpose. Each flag breaks one, and check.sh wants spin to find
 * that.
 */

#ifdef ONE_VOTE_OPENS
#define QUORUM 1
#else
#define QUORUM 2
#endif

/* Failed probes, of different processes, that end a round. */
#ifdef ONE_PROBE_A_ROUND
#define PROBES 1
#else
#define PROBES 2
#endif

/* A swap is done if nobody has written since. */
#ifdef NO_FENCING
#define swaps(kind) (fresh || kind != VOTE && kind != LEASE)
#else
#define swaps(kind) fresh
#endif

/* A process whose probe has failed leaves the next to others. */
#ifdef ASK_AGAIN
#define hasFailed(p) false
#else
#define hasFailed(p) (failed & bit(p))
#endif

/* A lease that is over may be taken over. */
#ifdef NO_TAKEOVER
#define leaseCounts (!over || state == HALF)
#else
#define leaseCounts !over
#endif

/* A lease that is not over may not be taken over. */
#define barred(p) (m[p].known.what == SHUT && leaseCounts || hasFailed(p))
#ifdef TAKEOVER_EARLY
#define mayAsk(p) true
#else
#define mayAsk(p) (!fresh || !barred(p))
#endif

/* claims: p holds the lease, or may find that it does. */
#define claims(p) (!m[p].dead && (m[p].asking || m[p].lease == DOUBT || m[p].lease == HELD))

/* ticks: p's clock runs from before it asks for the lease. */
#ifdef LEASE_FROM_ANSWER
#define ticks(p) (claims(p) && m[p].lease != NONE)
#else
#define ticks(p) claims(p)
#endif

/* outlasts: the lease does not end before p's verdict. */
#ifdef NO_HANDOVER
#define outlasts(p) claims(p)
#else
#define outlasts(p) (calm && claims(p) && !m[p].lapsed)
#endif

/* endOfDoubt: a lease that has been in doubt is over when the record says so. */
#if defined(CLOCKS) && !defined(DOUBT_WITHOUT_END)
#define endOfDoubt(p, item) m[p].slow = (m[p].slow || over || item.behind > 0)
#else
#define endOfDoubt(p, item) skip
#endif
