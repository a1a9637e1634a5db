// All about one circuit, in a dialog.

import { circuits, counted, now, scale, watched } from "./circuits.js";
import * as controls from "./controls.js";
import { transitionElement } from "./log.js";
import { $, mark, text } from "./page.js";
import { strip } from "./strip.js";
import { exact, inFlight, minutes, moment, nextProbe, period, time, visible, why } from "./words.js";

const dialog = $("details");
let shown; // the key of the circuit

export function show(key) {
  shown = key;
  controls.offer(key);
  draw();
  dialog.showModal();
}

// onClose calls closed when the dialog has closed and no element has the focus: the one that had it
// may be gone.
export function onClose(closed) {
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("cancel", (event) => {
    if (controls.cancel()) event.preventDefault(); // Esc ends the question first
  });
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // it was opened again meanwhile
    shown = undefined;
    const at = document.activeElement;
    if (at === document.body || dialog.contains(at)) closed();
  });
}

// draw shows what is known now.
export function draw() {
  if (shown === undefined) return;
  const c = circuits.get(shown);
  const put = (name, s) => text(dialog.querySelector(`.${name}`), s);
  text($("details-key"), visible(shown));
  dialog.classList.toggle("gone", c === undefined);
  if (c === undefined) {
    put("reason", "This circuit is gone: it was idle, and made room for others.");
    return;
  }
  mark(dialog, c);
  controls.allow(c);
  put("countdown", nextProbe(c));
  put("reason", why(c));
  put("since", `${moment(c.since)}, ${period(now() - c.since)} ago`);
  put("until", c.until < Infinity ? moment(c.until) : "\u2013");
  const n = counted(c);
  text($("counted"), n === c.counts ? "Counted now" : "Counted as it opened");
  put("counts", `${exact(n.failures)} of ${exact(n.requests)} failed, ${exact(n.slow)} slow, ${exact(n.consecutive_failures)} failures in a row`);
  put("in_flight", inFlight(c));
  const { success, failure, refused, ignored, limited } = c.totals;
  put("totals", `${exact(success)} ok, ${exact(failure)} failed, ${exact(refused)} refused, ${exact(ignored)} ignored${limited > 0 ? `, ${exact(limited)} limited` : ""}`);
  put("policy", c.policy_text);
  text($("details-ago"), `${minutes(scale.span).replace(/^minute/, "1 minute")} ago`);
  strip($("details-strip"), c);
  text($("details-watched"), `requests seen since ${time(watched[0][0])}`);
  drawTransitions(c);
}

function drawTransitions(c) {
  const element = $("details-log");
  const newest = c.transitions.at(-1);
  if (element.of === c && element.newest === newest) return;
  Object.assign(element, { of: c, newest });
  element.replaceChildren(...c.transitions.slice(-50).reverse().map(transitionElement));
}
