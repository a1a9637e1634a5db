// Numbers, times and circuits in words.

import { now } from "./circuits.js";

export const stateNames = { open: "Open", half_open: "Half-open", closed: "Closed" };

const number = new Intl.NumberFormat("en");
const roughly = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const exact = (n) => number.format(n);
export const count = (n) => (n < 100_000 ? number : roughly).format(n);

// Times are in the time zone of the browser.
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
export const time = (ms) => clock.format(ms);
export const moment = (ms) => calendar.format(ms);

// minutes writes milliseconds as a whole number of minutes, to stand after "last".
export const minutes = (ms) => (ms === 60_000 ? "minute" : `${ms / 60_000} minutes`);

// period writes milliseconds in two units at most: "42s", "4m 05s", "3h 20m".
export function period(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h ${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86_400)}d ${two(Math.floor(s / 3600) % 24)}h`;
}

// visible escapes characters that cannot be seen, or that would reorder the text around them.
export const visible = (s) => s.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// named says which Transport of which host reports.
export const named = (o) => `${visible(o.transport)} on ${visible(o.host)}`;

// phrase writes the reason of an event so that it can stand after a colon.
export const phrase = (reason) => visible(reason).replace(/^probe failed: (.*)$/, "probe failed ($1)");

// why says what opened a circuit, what may open it soon, or what opened it last.
export function why(c) {
  const reason = phrase(c.reason);
  if (c.state !== "closed") return reason;
  const limit = c.limit > 0 ? `recovering: at most ${count(c.limit)} in flight` : "";
  const run = c.counts.consecutive_failures;
  return limit || (run > 1 ? `${count(run)} failures in a row so far` : "") || (reason && `last opened: ${reason}`);
}

export const inFlight = (c) => count(c.in_flight) + (c.limit > 0 ? ` of ${count(c.limit)}` : "");

export function nextProbe(c) {
  if (c.state === "closed") return "";
  if (c.forced) return "until it is reset";
  if (c.state === "open" && c.transitions.at(-1)?.reason === "limited") return `closes in ${period(c.until - now() + 999)}`;
  if (c.state === "half_open") {
    const probed = c.policy.adaptive || c.transitions.at(-1)?.to === "half_open"; // an adaptive circuit records no probes
    return probed && c.in_flight > 0 ? "probe under way" : "probe: next request";
  }
  if (c.until === Infinity) return "another process probes";
  return now() < c.until ? `probe in ${period(c.until - now() + 999)}` : "probe now";
}
