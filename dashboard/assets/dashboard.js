// The page: shows what the server says of its circuits as it changes, finds and
// sorts them, and, where the server allows it, forces and resets them. What comes
// from the server is set as text, never as HTML.

const $ = (id) => document.getElementById(id);

// ---- Words ----

const stateNames = { open: "Open", half_open: "Half-open", closed: "Closed" };
const number = new Intl.NumberFormat("en");
const roughly = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (n) => (n < 100_000 ? number : roughly).format(n);
const time = (ms) => new Date(ms).toLocaleTimeString("en-GB");
const moment = (ms) => `${new Date(ms).toISOString().replace("T", " ").slice(0, 19)} UTC`;

// period writes milliseconds in two units at most: "42s", "4m 05s", "3h 20m".
function period(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h ${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86_400)}d ${two(Math.floor(s / 3600) % 24)}h`;
}

// visible writes out what would be invisible or reorder its surroundings.
const visible = (s) => s.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// ---- What is known ----

const span = 10 * 60_000; // what a strip shows, in milliseconds
const bucket = 5_000; // a column of it
const silence = 12_000; // the server's heartbeat is every 5 s
const journal = 256; // the transitions that a server keeps
const noTotals = { success: 0, failure: 0, ignored: 0, refused: 0 };

const circuits = new Map(); // by key
let transitions = []; // the oldest first
const known = new Set(); // the identities of transitions
let complete = -Infinity; // no transition is missing from this time on
let watched = []; // [from, to]: periods in which the server was heard
const clock = { server: 0, here: 0 };
const now = () => clock.server + performance.now() - clock.here;

// receive takes a report of the server: all there is, or what has changed.
function receive(report, whole) {
  const at = Date.parse(report.now);
  const latest = watched.at(-1);
  const seamless = latest !== undefined && at >= latest[1] && at - latest[1] < silence;
  if (seamless) latest[1] = at;
  else watched.push([at, at]);
  watched = watched.filter((w) => w[1] > at - span);
  clock.server = at;
  clock.here = performance.now();

  const fresh = remember(report.transitions);
  for (const s of report.circuits) update(s, at, seamless);
  for (const key of report.removed ?? []) circuits.delete(key);
  if (whole) {
    const present = new Set(report.circuits.map((s) => s.key));
    for (const key of circuits.keys()) if (!present.has(key)) circuits.delete(key);
  }
  log(fresh);
  if (watched.length > 1 || watched[0][0] < at) announce(fresh); // those of the first report are old
  changed();
}

// remember adds the transitions that are new, and returns them.
function remember(list) {
  const identity = (t) => JSON.stringify([t.at, t.key, t.from, t.to]);
  const fresh = list.filter((t) => !known.has(identity(t)));
  for (const t of fresh) {
    known.add(identity(t));
    t.ms = Date.parse(t.at);
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
    text: `${visible(s.key)}\n${s.reason}`.toLowerCase(),
  });
}

// counted is what the rules count now, or counted as they opened the circuit.
function counted(c) {
  if (c.state === "closed") return c.counts;
  return c.transitions.findLast((t) => t.to === "open" && t.from === "closed")?.counts ?? c.counts;
}

const share = (c) => {
  const n = counted(c);
  return n.requests > 0 ? Math.min(1, n.failures / n.requests) : 0;
};

// ---- The server ----

let source;
let opened = 0; // the times of events here, as performance.now has them
let streamed = -Infinity;
let heard = -Infinity;
let polled = -Infinity;
let polling = false;

function stream() {
  source?.close();
  opened = performance.now();
  source = new EventSource("events");
  const take = (whole) => (event) => {
    streamed = heard = performance.now();
    receive(JSON.parse(event.data), whole);
    showLink();
  };
  source.addEventListener("all", take(true));
  source.addEventListener("change", take(false));
}

async function poll() {
  if (polling || performance.now() - polled < 2_000) return;
  polling = true;
  polled = performance.now();
  try {
    const response = await fetch("circuits.json", { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(response.statusText);
    const report = await response.json();
    heard = performance.now();
    if (!streaming()) receive(report, true);
  } catch {
    // showLink says since when nothing was heard.
  } finally {
    polling = false;
    showLink();
  }
}

const streaming = () => source.readyState === EventSource.OPEN && performance.now() - streamed < silence;

// watch polls as long as no events come, and tries again to have some.
function watch() {
  if (!streaming()) {
    if (performance.now() - opened > 15_000) stream();
    poll();
  }
  showLink();
  drawing++; // time has passed
  draw();
}

function showLink() {
  const lost = performance.now() - heard > silence;
  const link = streaming() ? "live" : lost ? "none" : "polling";
  text($("link"), { live: "Live", polling: "Polling", none: watched.length > 0 ? "No connection" : "Connecting" }[link]);
  $("link").dataset.link = link;
  document.body.classList.toggle("stale", lost && watched.length > 0);
  text($("heard"), watched.length > 0 ? time(clock.server) : "");
  const since = watched.length > 0 ? `since ${time(clock.server)}. What you see is from then.` : "yet.";
  text($("alarm"), lost && performance.now() > silence ? `No word from the server ${since}` : "");
}

// ---- The list ----

const filter = $("filter");
const rows = $("rows");
const elements = new Map(); // rows that are in the page, by key
let list = []; // what is to be shown, in order
let stale = true; // list is
let current; // the key of the row that the keyboard is at
let place = 0; // where in the list that is
let drawing = 0; // rises when rows may have something new to say
let frame = 0;

const orders = {
  state: (c) => ({ open: 0, half_open: 1, closed: c.forced ? 2 : 3 })[c.state],
  key: () => 0,
  since: (c) => -c.since,
  until: (c) => c.until,
  share: (c) => -share(c),
  in_flight: (c) => -c.in_flight,
  failure: (c) => -c.totals.failure,
  refused: (c) => -c.totals.refused,
};

const belongs = (c, state) => state === "all" || c.state === state || (state === "forced" && c.forced);

function select() {
  const { state, search, sort, reverse } = Object.fromEntries(new FormData(filter));
  const words = search.toLowerCase().split(/\s+/);
  list = [...circuits.values()].filter((c) => belongs(c, state) && words.every((w) => c.text.includes(w)));
  for (const c of list) c.order = orders[sort](c);
  const sign = reverse ? -1 : 1;
  list.sort((a, b) => sign * (a.order - b.order || (a.key < b.key ? -1 : 1)));

  const none = circuits.size > 0 ? "No circuit is like that." : "There is no circuit yet: no request has been made.";
  text($("none"), none);
  $("none").hidden = list.length > 0 || watched.length === 0;
  for (const header of document.querySelectorAll("#circuits thead th")) {
    for (const button of header.children) button.classList.toggle("by", button.dataset.sort === sort);
    if (header.querySelector(".by") === null) header.removeAttribute("aria-sort");
    else header.setAttribute("aria-sort", reverse ? "descending" : "ascending");
  }
  stale = false;
}

// changed shows what does not wait until somebody looks: a tab in the background
// draws nothing.
function changed() {
  stale = true;
  drawing++;
  const sums = { all: 0, open: 0, half_open: 0, closed: 0, forced: 0 };
  for (const c of circuits.values()) for (const s in sums) if (belongs(c, s)) sums[s]++;
  for (const s in sums) text($(`count-${s}`), count(sums[s]));
  document.title = sums.open > 0 ? `(${count(sums.open)} open) Circuits` : "Circuits";
  const icon = sums.open > 0 ? "icon-open.svg" : "icon.svg";
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
  draw();
}

function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (stale) select();
    drawRows();
    drawDetails();
  });
}

// drawRows puts into the page the rows that can be seen, some more, and the one
// that has the focus.
function drawRows() {
  const height = parseFloat(getComputedStyle(rows).getPropertyValue("--row"));
  rows.style.height = `${list.length * height}px`;
  $("circuits").setAttribute("aria-rowcount", list.length + 1);
  const top = -rows.getBoundingClientRect().top / height;
  const first = Math.max(0, Math.floor(top) - 8);
  const last = Math.min(list.length, Math.ceil(top + innerHeight / height) + 8);

  const focused = document.activeElement.closest("#rows tr");
  const here = list.findIndex((c) => c.key === current);
  if (here >= 0) place = here;
  place = Math.min(place, list.length - 1); // the next one, if the current one has gone
  if (!focused) place = Math.min(Math.max(place, first), last - 1);
  current = list[place]?.key;

  const wanted = [];
  if (place >= 0 && place < first) wanted.push(place);
  for (let i = first; i < last; i++) wanted.push(i);
  if (place >= last) wanted.push(place);
  const keys = new Set(wanted.map((i) => list[i].key));
  for (const [key, element] of elements) {
    if (keys.has(key)) continue;
    element.remove();
    elements.delete(key);
  }
  arrange(wanted.map((i) => fill(list[i], i, height)), focused);
  if (focused && !focused.isConnected) (elements.get(current)?.querySelector(".key") ?? $("search")).focus();
}

// arrange brings elements into order. The others move around the one that has
// the focus: it would lose it.
function arrange(wanted, focused) {
  const fixed = Math.max(0, wanted.indexOf(focused));
  if (wanted.length > 0 && !wanted[fixed].isConnected) rows.append(wanted[fixed]);
  for (let i = fixed + 1; i < wanted.length; i++) {
    if (wanted[i - 1].nextSibling !== wanted[i]) wanted[i - 1].after(wanted[i]);
  }
  for (let i = fixed - 1; i >= 0; i--) {
    if (wanted[i].nextSibling !== wanted[i + 1]) wanted[i + 1].before(wanted[i]);
  }
}

// fill returns the row of a circuit, with what it says now.
function fill(c, i, height) {
  let row = elements.get(c.key);
  if (row === undefined) {
    row = $("row").content.firstElementChild.cloneNode(true);
    row.circuit = c.key;
    elements.set(c.key, row);
  }
  const part = (name) => row.querySelector(`.${name}`);
  row.style.transform = `translateY(${i * height}px)`;
  row.setAttribute("aria-rowindex", i + 2);
  part("key").tabIndex = c.key === current ? 0 : -1;
  if (row.drawn === drawing) return row;

  row.drawn = drawing;
  mark(row, c);
  text(part("key"), visible(c.key));
  text(part("reason"), why(c));
  text(part("since"), period(now() - c.since));
  text(part("until"), nextProbe(c));
  const n = counted(c);
  text(part("percent"), n.requests > 0 ? `${Math.round(100 * share(c))}%` : "\u2013");
  text(part("of"), n.requests > 0 ? `${count(n.failures)} of ${count(n.requests)}` : "");
  text(part("in_flight"), count(c.in_flight));
  for (const name in noTotals) text(part(name), count(c.totals[name]));
  strip(row.querySelector(".strip svg"), c);
  return row;
}

// mark shows the state of a circuit in an element, in words and as a symbol.
function mark(element, c) {
  element.dataset.state = c.state;
  element.dataset.forced = c.forced;
  symbol(element, c.state);
  text(element.querySelector(".name"), stateNames[c.state]);
  text(element.querySelector(".forced"), c.forced ? "forced" : "");
}

function symbol(element, state) {
  const use = element.querySelector(".symbol use");
  if (use.getAttribute("href") !== `#symbol-${state}`) use.setAttribute("href", `#symbol-${state}`);
}

// why says what opened a circuit, or what may open it soon.
function why(c) {
  if (c.state !== "closed") return visible(c.reason);
  if (c.counts.consecutive_failures > 1) return `${count(c.counts.consecutive_failures)} failures in a row so far`;
  return c.reason === "" ? "" : `opened before: ${visible(c.reason)}`;
}

function nextProbe(c) {
  if (c.state === "closed") return "";
  if (c.forced) return "no probe until reset";
  if (c.state === "half_open") return "probe: next request";
  return now() < c.until ? `probe in ${period(c.until - now() + 999)}` : "probe now";
}

// text spares the page a change that is none.
function text(element, s) {
  if (element.textContent !== s) element.textContent = s;
}

// ---- The strip of the last minutes ----

// past is a circuit's states over time, as far as they are known: from its
// transitions, and from the state that it is in. What reads half-open has waited
// for a probe since its open time was over.
function past(c) {
  const periods = [];
  const add = (from, to, state) => {
    from = Math.max(from, now() - span);
    to = Math.min(to, c.since);
    if (from < to) periods.push({ from, to, state });
  };
  c.transitions.forEach((t, i) => {
    const end = c.transitions[i + 1]?.ms ?? Infinity;
    const elapsed = t.to === "open" && t.open_for > 0 ? t.ms + 1000 * t.open_for : Infinity;
    if (i === 0) add(complete, t.ms, t.from);
    add(t.ms, Math.min(end, elapsed), t.to);
    add(elapsed, end, "half_open");
  });
  periods.push({ from: Math.max(c.since, now() - span), to: now(), state: c.state });
  return periods;
}

// strip draws the states of a circuit as blocks, and above them its requests as
// bars. One unit across is a bucket.
function strip(svg, c) {
  const start = Math.floor(now() / bucket) - span / bucket + 1; // the first column's bucket
  const x = (ms) => Math.max(0, ms / bucket - start);
  const box = (from, to, y, height) => `M${from.toFixed(2)} ${y.toFixed(2)}h${(to - from).toFixed(2)}v${height.toFixed(2)}H${from.toFixed(2)}z`;
  const paths = { ok: "", failed: "", refused: "", watched: "", closed: "", half_open: "", open: "" };
  const heights = { closed: 2, half_open: 5, open: 8 };
  const sums = { closed: 0, half_open: 0, open: 0 };
  for (const { from, to, state } of past(c)) {
    const height = heights[state];
    paths[state] += box(x(from), Math.max(x(to), x(from) + 0.4), 24 - height / 2, height);
    sums[state] += to - from;
  }
  for (const [from, to] of watched) paths.watched += box(x(from), Math.max(x(to), x(from) + 0.4), 18, 0.8);

  const traffic = c.traffic.filter((t) => t.n >= start);
  const most = Math.max(...traffic.map((t) => t.sums[0] + t.sums[1] + t.sums[2]));
  const total = [0, 0, 0];
  for (const { n, sums: [ok, failed, refused] } of traffic) {
    let y = 18;
    const stack = (sum, inset) => {
      if (sum === 0) return "";
      const height = Math.max(1.5, (16 * sum) / most);
      y -= height;
      return box(n - start + inset, n - start + 1 - inset, y, height);
    };
    paths.failed += stack(failed, 0.05);
    paths.refused += stack(refused, 0.3);
    paths.ok += stack(ok, 0.05);
    [ok, failed, refused].forEach((sum, i) => (total[i] += sum));
  }
  for (const name in paths) {
    const path = svg.querySelector(`.${name}`);
    if (path.getAttribute("d") !== paths[name]) path.setAttribute("d", paths[name]);
  }
  const states = Object.keys(sums).filter((s) => sums[s] > 0).map((s) => `${stateNames[s]} ${period(sums[s])}`);
  svg.setAttribute("aria-label", `Of the last 10 minutes: ${states.join(", ")}. Seen from here: ${total[0]} ok, ${total[1]} failed, ${total[2]} refused.`);
}

// ---- Transitions as they happen ----

const inLog = 100;
let unsaid = []; // transitions still to be announced
let saying = 0;

function transitionElement(t) {
  const li = $("transition").content.firstElementChild.cloneNode(true);
  li.dataset.state = t.to;
  symbol(li, t.to);
  li.querySelector("time").textContent = time(t.ms);
  li.querySelector("time").dateTime = t.at;
  li.querySelector("time").title = moment(t.ms);
  li.querySelector(".to").textContent = stateNames[t.to] + (t.open_for >= 1 ? ` for ${period(1000 * t.open_for)}` : "");
  li.querySelector(".key").textContent = visible(t.key);
  li.querySelector(".detail").textContent = visible(t.detail || t.reason.replaceAll("_", " "));
  return li;
}

function log(fresh) {
  for (const t of fresh.slice(-inLog)) $("log").prepend(transitionElement(t));
  while ($("log").children.length > inLog) $("log").lastElementChild.remove();
}

// announce tells those who do not see the page, not more often than one can listen.
function announce(fresh) {
  unsaid.push(...fresh);
  if (unsaid.length === 0 || saying !== 0) return;
  saying = setTimeout(() => {
    saying = 0;
    const name = (t) => `${visible(t.key)} is ${stateNames[t.to].toLowerCase()}`;
    const opened = unsaid.filter((t) => t.to === "open").length;
    text($("announcer"), unsaid.length <= 3 ? unsaid.map(name).join(". ") : `${unsaid.length} transitions, ${opened} of them to open`);
    unsaid = [];
  }, 2_000);
}

// ---- One circuit, and what can be done to it ----

const details = $("details");
const questions = {
  "force-open": ["Refuse every request", "until it is reset?", "Force open"],
  "force-closed": ["Admit every request", "until it is reset, however many fail?", "Force closed"],
  reset: ["Close the circuit", "now, forget its counts, and no longer force it?", "Reset"],
};
let shown; // the key of the circuit in the dialog
let intended; // the control that waits for its confirmation

function show(key) {
  shown = key;
  intend(undefined);
  text($("outcome"), "");
  $("controls").hidden = document.documentElement.dataset.controls !== "yes";
  drawDetails();
  details.showModal();
}

function drawDetails() {
  if (shown === undefined) return;
  const c = circuits.get(shown);
  const put = (name, s) => text(details.querySelector(`.${name}`), s);
  text($("details-key"), visible(shown));
  details.classList.toggle("gone", c === undefined);
  if (c === undefined) return put("reason", "This circuit is gone: it was idle, and made room for others.");
  mark(details, c);
  put("countdown", nextProbe(c));
  put("reason", why(c));
  put("since", `${moment(c.since)}, ${period(now() - c.since)} ago`);
  put("until", c.until < Infinity ? moment(c.until) : "\u2013");
  const n = counted(c);
  text($("counted"), n === c.counts ? "Counted now" : "Counted as it opened");
  put("counts", `${number.format(n.failures)} of ${number.format(n.requests)} failed, ${number.format(n.slow)} slow, ${number.format(n.consecutive_failures)} failures in a row`);
  put("in_flight", number.format(c.in_flight));
  put("totals", Object.entries({ ok: "success", failed: "failure", refused: "refused", ignored: "ignored" }).map(([word, name]) => `${number.format(c.totals[name])} ${word}`).join(", "));
  strip($("details-strip"), c);
  text($("details-watched"), `requests seen since ${time(watched[0][0])}`);
  const newest = c.transitions.at(-1);
  if ($("details-log").newest === newest && $("details-log").of === c) return;
  Object.assign($("details-log"), { newest, of: c });
  $("details-log").replaceChildren(...c.transitions.slice(-50).reverse().map(transitionElement));
}

function intend(verb) {
  intended = verb;
  $("confirm").hidden = verb === undefined;
  if (verb === undefined) return;
  const [what, until, name] = questions[verb];
  text($("question"), `${what} of ${visible(shown)} ${until}`);
  text($("go"), name);
  text($("outcome"), "");
  $("cancel").focus(); // so that Enter, pressed twice, does nothing
}

async function act(verb, key) {
  text($("outcome"), "Sent, no answer yet");
  try {
    const response = await fetch(verb, { method: "POST", body: new URLSearchParams({ key }), signal: AbortSignal.timeout(10_000) });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${response.status}: ${answer}`);
    update(JSON.parse(answer), now(), true);
    changed();
    text($("outcome"), "Done");
  } catch (error) {
    text($("outcome"), `Not done, as far as is known. ${error.message}`);
  }
}

for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => intend(button.dataset.do));
const cancel = () => {
  const verb = intended;
  intend(undefined);
  details.querySelector(`[data-do="${verb}"]`).focus();
};
$("cancel").addEventListener("click", cancel);
$("go").addEventListener("click", () => {
  act(intended, shown);
  cancel();
});
$("close").addEventListener("click", () => details.close());
details.addEventListener("cancel", (event) => {
  if (intended === undefined) return;
  event.preventDefault(); // Esc ends the question first
  cancel();
});
details.addEventListener("close", () => {
  if (details.open) return; // it was opened again meanwhile
  shown = undefined;
  elements.get(current)?.querySelector(".key").focus();
});

// ---- What people do, and the start ----

filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  history.replaceState(null, "", `#${new URLSearchParams(new FormData(filter))}`); // for a reload
  stale = true;
  draw();
});

for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    $("reverse").checked = button.dataset.sort === $("sort").value && !$("reverse").checked;
    $("sort").value = button.dataset.sort;
    filter.dispatchEvent(new Event("input"));
  });
}

rows.addEventListener("focusin", (event) => (current = event.target.closest("tr").circuit));
rows.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (getSelection().isCollapsed) show((current = row.circuit));
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || details.open) return;
  if (event.key === "/" && event.target !== $("search")) {
    event.preventDefault();
    $("search").focus();
  } else if (event.target.closest("#rows")) {
    const page = Math.max(1, Math.floor(innerHeight / event.target.closest("tr").offsetHeight) - 2);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  }
});

// go moves the focus to a row, and that into sight.
function go(to) {
  place = Math.max(0, Math.min(to, list.length - 1));
  current = list[place].key;
  drawRows();
  const row = elements.get(current);
  row.scrollIntoView({ block: "nearest" });
  row.querySelector(".key").focus({ preventScroll: true });
}

function start() {
  text($("origin"), location.host);
  const chosen = new URLSearchParams(location.hash.slice(1));
  filter.elements.state.value = chosen.get("state") ?? "all";
  $("search").value = chosen.get("search");
  $("sort").value = chosen.get("sort");
  if ($("sort").value === "") $("sort").value = "state";
  $("reverse").checked = chosen.has("reverse");
  addEventListener("scroll", draw, { passive: true });
  addEventListener("resize", draw);
  stream();
  setInterval(watch, 1_000);
}

start();
