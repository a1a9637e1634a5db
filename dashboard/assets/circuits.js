// What is known of the circuits, by what the server has reported.

export const span = 10 * 60_000; // how long traffic is remembered, in milliseconds
export const bucket = 5_000; // in sums over so long
export const silence = 12_000; // after so long the server is not heard: its heartbeat is every 5 s
const journal = 256; // the transitions that a server keeps
const noTotals = { success: 0, failure: 0, ignored: 0, refused: 0 };

export const circuits = new Map(); // by key
export let reported; // the server's time of its latest report, undefined before the first
export let watched = []; // [from, to]: periods in which the server was heard
let earliest = Infinity; // something is known of this time, so that the process ran
let complete = -Infinity; // no transition is missing from this time on
let transitions = []; // the oldest first
const known = new Set(); // the identities of transitions
let here = 0; // when the latest report arrived, as performance.now has it

// now is the server's time.
export const now = () => reported + performance.now() - here;

// remembered is the time from which on all transitions are known.
export const remembered = () => Math.max(earliest, complete);

// receive takes a report of the server: all there is, or what has changed. It
// returns the transitions that are new.
export function receive(report, whole) {
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
  return fresh;
}

// watch notes that the server was heard, and returns whether it was a moment ago
// too.
function watch(at) {
  const latest = watched.at(-1);
  const seamless = latest !== undefined && at >= latest[1] && at - latest[1] < silence;
  if (seamless) latest[1] = at;
  else watched.push([at, at]);
  watched = watched.filter((w) => w[1] > at - span);
  return seamless;
}

// remember adds the transitions that are new, and returns them.
function remember(list) {
  const identity = (t) => JSON.stringify([t.at, t.key, t.from, t.to]);
  const fresh = list.filter((t) => !known.has(identity(t)));
  for (const t of fresh) {
    known.add(identity(t));
    t.ms = Date.parse(t.at);
    earliest = Math.min(earliest, t.ms);
    circuits.get(t.key)?.transitions.push(t);
  }
  if (fresh.length >= journal) complete = fresh[0].ms; // others may have been dropped before it
  transitions.push(...fresh);
  const dropped = transitions.splice(0, Math.max(0, transitions.length - 8 * journal));
  for (const t of dropped) known.delete(identity(t));
  if (dropped.length > 0) complete = Math.max(complete, transitions[0].ms);
  return fresh;
}

// update takes a snapshot. What its totals have grown by is known to have
// happened now only if the server was heard a moment ago.
function update(s, at, seamless) {
  let c = circuits.get(s.key);
  if (c === undefined) {
    c = { key: s.key, totals: noTotals, traffic: [], transitions: transitions.filter((t) => t.key === s.key) };
    circuits.set(s.key, c);
  }
  const before = s.totals.success < c.totals.success ? noTotals : c.totals; // made anew
  const grown = [s.totals.success - before.success, s.totals.failure - before.failure, s.totals.refused - before.refused];
  if (seamless && grown.some((n) => n > 0)) {
    const n = Math.floor(at / bucket);
    if (c.traffic.at(-1)?.n !== n) c.traffic.push({ n, sums: [0, 0, 0] });
    grown.forEach((g, i) => (c.traffic.at(-1).sums[i] += Math.max(0, g)));
    while (c.traffic[0].n * bucket < at - span - bucket) c.traffic.shift();
  }
  while (c.transitions.length > journal && c.transitions[0].ms < at - span) c.transitions.shift();
  Object.assign(c, s, {
    since: Date.parse(s.since),
    until: s.until === undefined ? Infinity : Date.parse(s.until),
  });
  earliest = Math.min(earliest, c.since);
}

// counted is what the rules count now, or counted as they opened the circuit.
export function counted(c) {
  if (c.state === "closed") return c.counts;
  return c.transitions.findLast((t) => t.to === "open" && t.from === "closed")?.counts ?? c.counts;
}

// share is the failed share of that.
export function share(c) {
  const n = counted(c);
  return n.requests > 0 ? Math.min(1, n.failures / n.requests) : 0;
}
