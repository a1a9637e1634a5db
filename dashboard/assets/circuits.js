// What is known about the circuits, from the server's reports.

export const silence = 12_000; // ms without a word from the server after which it counts as lost; its heartbeat is every 5 s
const journal = 256; // the number of transitions that a server keeps
const noTotals = { success: 0, failure: 0, ignored: 0, refused: 0, limited: 0 };

// Traffic is remembered for a span, in sums over buckets, both in milliseconds. The longer the time of
// which anything is known, the longer they are. Each bucket is as long as the one before, or twice as
// long.
const scales = [
  { span: 60_000, bucket: 2_000 },
  { span: 2 * 60_000, bucket: 2_000 },
  { span: 5 * 60_000, bucket: 4_000 },
  { span: 10 * 60_000, bucket: 8_000 },
];

export const circuits = new Map(); // by key
export let origin; // the process that reports, and its Transport
export let reported; // the server's time of its latest report, undefined before the first
export let scale; // the present one of scales
export let watched; // [from, to]: periods in which the server was heard
let earliest; // the earliest time of which anything is known
let complete; // from this time on, no transition is missing
let transitions; // the oldest first
let latest; // the seq of the last transition
let here = 0; // when the latest report arrived, on the clock of performance.now

// now is the server's time.
export const now = () => reported + performance.now() - here;

// remembered is the time from which on all transitions are known.
export const remembered = () => Math.max(earliest, complete);

function forget() {
  circuits.clear();
  scale = scales[0];
  watched = [];
  earliest = Infinity;
  complete = -Infinity;
  transitions = [];
  latest = 0;
}
forget();

// receive takes in a report of the server: a whole one, or a change. It returns the new transitions,
// and whether the report is of another process than the one before.
export function receive(report, whole) {
  if (!whole && isOld(report)) return { fresh: [], another: false };
  const another = whole && isAnother(report);
  if (another) forget();
  reported = Date.parse(report.now);
  here = performance.now();
  const seamless = watch(reported);
  const fresh = remember(report.transitions);
  for (const s of report.circuits) update(s, reported, seamless);
  for (const key of report.removed ?? []) circuits.delete(key);
  if (whole) {
    const present = new Set(report.circuits.map((s) => s.key));
    for (const key of circuits.keys()) if (!present.has(key)) circuits.delete(key);
  }
  grow();
  return { fresh, another };
}

// isOld reports whether a change is known already: a stream that goes on where it was lost brings
// changes from before the latest poll. A change that is a minute or more old is not known: the
// server's clock has been set back.
function isOld(report) {
  const ago = reported - Date.parse(report.now);
  return ago > 0 && ago < 60_000;
}

function isAnother({ transport, process }) {
  const before = origin;
  origin = { transport, ...process };
  return before !== undefined && JSON.stringify(before) !== JSON.stringify(origin);
}

// watch notes that the server was heard. It returns whether there was no gap since the time before.
function watch(at) {
  const last = watched.at(-1);
  const seamless = last !== undefined && at >= last[1] && at - last[1] < silence;
  if (seamless) last[1] = at;
  else watched.push([at, at]);
  watched = watched.filter((w) => w[1] > at - scales.at(-1).span);
  return seamless;
}

// remember adds the transitions that are new, and returns them.
function remember(list) {
  const fresh = list.filter((t) => t.seq > latest);
  if (fresh.length === 0) return fresh;
  for (const t of fresh) {
    t.ms = Date.parse(t.at);
    earliest = Math.min(earliest, t.ms);
    circuits.get(t.key)?.transitions.push(t);
  }
  if (fresh[0].seq !== latest + 1) complete = fresh[0].ms; // others were dropped before it
  latest = fresh.at(-1).seq;
  transitions.push(...fresh);
  const dropped = transitions.splice(0, Math.max(0, transitions.length - 8 * journal));
  if (dropped.length > 0) complete = Math.max(complete, transitions[0].ms);
  return fresh;
}

// update takes in a snapshot. Its totals have grown since the snapshot before. That counts as traffic
// of now only if there was no gap in the reports.
function update(s, at, seamless) {
  let c = circuits.get(s.key);
  if (c === undefined) {
    c = { key: s.key, totals: noTotals, traffic: [], transitions: transitions.filter((t) => t.key === s.key) };
    circuits.set(s.key, c);
  }
  const before = s.totals.success < c.totals.success ? noTotals : c.totals; // evicted, and made again
  const grown = [s.totals.success - before.success, s.totals.failure - before.failure, s.totals.refused - before.refused];
  if (seamless && grown.some((n) => n > 0)) addTraffic(c, Math.floor(at / scale.bucket), grown.map((g) => Math.max(0, g)));
  while (c.traffic[0]?.n * scale.bucket < at - scale.span - scale.bucket) c.traffic.shift();
  while (c.transitions.length > journal && c.transitions[0].ms < at - scale.span) c.transitions.shift();
  Object.assign(c, s, {
    since: Date.parse(s.since),
    until: s.until === undefined ? Infinity : Date.parse(s.until),
  });
  earliest = Math.min(earliest, c.since);
}

// addTraffic adds to the sums of ok, failed and refused requests in the bucket n.
function addTraffic(c, n, sums) {
  if (c.traffic.at(-1)?.n !== n) c.traffic.push({ n, sums: [0, 0, 0] });
  sums.forEach((sum, i) => (c.traffic.at(-1).sums[i] += sum));
}

// grow switches to a longer scale when the process has outlived the present one.
function grow() {
  while (reported - earliest > scale.span && scale !== scales.at(-1)) {
    const next = scales[scales.indexOf(scale) + 1];
    const longer = next.bucket / scale.bucket;
    if (longer > 1) {
      for (const c of circuits.values()) {
        const traffic = c.traffic;
        c.traffic = [];
        for (const { n, sums } of traffic) addTraffic(c, Math.floor(n / longer), sums);
      }
    }
    scale = next;
  }
}

// opening is the transition that opened a circuit which is not closed, if it is known.
export const opening = (c) => c.transitions.findLast((t) => t.to === "open" && t.from === "closed");

// counted is what the rules count now, or counted as they opened the circuit.
export const counted = (c) => (c.state === "closed" ? c.counts : (opening(c)?.counts ?? c.counts));

// share is the failed or the slow share of the counted requests, whichever is larger.
export function share(c) {
  const n = counted(c);
  return n.requests > 0 ? Math.min(1, Math.max(n.failures, n.slow) / n.requests) : 0;
}

// failing reports whether a closed circuit's requests are failing now: the last two of them, or a
// fifth of those in the last ten seconds.
export function failing(c) {
  if (c.state !== "closed") return false;
  if (c.counts.consecutive_failures > 1) return true;
  const recent = c.traffic.filter(({ n }) => (n + 1) * scale.bucket > now() - 10_000);
  const [ok, failed] = [0, 1].map((i) => recent.reduce((sum, t) => sum + t.sums[i], 0));
  return failed > 1 && 5 * failed >= ok + failed;
}
