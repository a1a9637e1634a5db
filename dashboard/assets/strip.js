// The strip of a circuit's last minutes.

import { now, remembered, scale, watched } from "./circuits.js";
import { minutes, period, stateNames } from "./words.js";

// past returns a circuit's states over time, as far as its transitions and its present state show
// them. A circuit counts as half-open from the end of its open time on, even before the first probe.
// An adaptive circuit counts as open for the whole outage, because its probes are no transitions.
function past(c) {
  const periods = [];
  const add = (from, to, state) => {
    from = Math.max(from, now() - scale.span);
    to = Math.min(to, c.since);
    if (from < to) periods.push({ from, to, state });
  };
  c.transitions.forEach((t, i) => {
    const end = c.transitions[i + 1]?.ms ?? Infinity;
    const elapsed = t.to === "open" && t.open_for > 0 && !c.policy.adaptive ? t.ms + 1000 * t.open_for : Infinity;
    if (i === 0) add(remembered(), t.ms, t.from);
    add(t.ms, Math.min(end, elapsed), t.to);
    add(elapsed, end, "half_open");
  });
  periods.push({ from: Math.max(c.since, now() - scale.span), to: now(), state: c.state });
  return periods;
}

const width = 600; // of the strip, in units

// strip draws the states of a circuit as blocks, and above them its requests as bars, one for each
// bucket.
export function strip(svg, c) {
  const columns = scale.span / scale.bucket;
  const start = Math.floor(now() / scale.bucket) - columns + 1; // the first column's bucket
  const states = drawStates(c, start);
  const traffic = drawTraffic(c.traffic.filter((t) => t.n >= start), start);
  const paths = { ...states.paths, ...traffic.paths };
  for (const name in paths) {
    const path = svg.querySelector(`.${name}`);
    if (path.getAttribute("d") !== paths[name]) path.setAttribute("d", paths[name]);
  }
  const [ok, failed, refused] = traffic.totals;
  svg.setAttribute("aria-label", `Of the last ${minutes(scale.span)}: ${states.words}. Seen from here: ${ok} ok, ${failed} failed, ${refused} refused.`);
}

const box = (from, to, y, height) => `M${from.toFixed(2)} ${y.toFixed(2)}h${(to - from).toFixed(2)}v${height.toFixed(2)}H${from.toFixed(2)}z`;

function drawStates(c, start) {
  const x = (ms) => Math.max(0, ((ms / scale.bucket - start) * scale.bucket * width) / scale.span);
  const bar = (from, to, y, height) => box(x(from), Math.max(x(to), x(from) + 2), y, height); // short ones are seen too
  const heights = { closed: 2, half_open: 5, open: 8 };
  const paths = { watched: "", closed: "", half_open: "", open: "" };
  const sums = { closed: 0, half_open: 0, open: 0 };
  for (const { from, to, state } of past(c)) {
    paths[state] += bar(from, to, 24 - heights[state] / 2, heights[state]);
    sums[state] += to - from;
  }
  for (const [from, to] of watched) paths.watched += bar(from, to, 18, 0.8);
  const words = Object.keys(sums).filter((s) => sums[s] > 0).map((s) => `${stateNames[s]} ${period(sums[s])}`);
  return { paths, words: words.join(", ") };
}

function drawTraffic(traffic, start) {
  const most = Math.max(...traffic.map((t) => t.sums[0] + t.sums[1] + t.sums[2]));
  const paths = { ok: "", failed: "", refused: "" };
  const totals = [0, 0, 0];
  const column = (scale.bucket * width) / scale.span;
  for (const { n, sums } of traffic) {
    let y = 18;
    const stack = (sum, inset) => {
      if (sum === 0) return "";
      const height = Math.max(1.5, (16 * sum) / most);
      y -= height;
      return box((n - start + inset) * column, (n - start + 1 - inset) * column, y, height);
    };
    const [ok, failed, refused] = sums;
    paths.failed += stack(failed, 0.05);
    paths.refused += stack(refused, 0.3);
    paths.ok += stack(ok, 0.05);
    sums.forEach((sum, i) => (totals[i] += sum));
  }
  return { paths, totals };
}
