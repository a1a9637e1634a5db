// Transitions as they happen, in the list and for screen readers.

import { $, symbol, text } from "./page.js";
import { moment, period, phrase, stateNames, time, visible } from "./words.js";

const length = 100; // the most transitions in the list
let unsaid = []; // transitions still to be announced
let saying = 0; // the timer of the next announcement, 0 if there is none

export function transitionElement(t) {
  const li = $("transition").content.firstElementChild.cloneNode(true);
  const put = (selector, s) => (li.querySelector(selector).textContent = s);
  li.dataset.state = t.to;
  symbol(li, t.to);
  put("time", time(t.ms));
  li.querySelector("time").dateTime = t.at;
  li.querySelector("time").title = moment(t.ms);
  put(".to", stateNames[t.to] + (t.open_for >= 1 ? ` for ${period(1000 * t.open_for)}` : ""));
  put(".key", visible(t.key));
  put(".detail", phrase(t.detail || t.reason.replaceAll("_", " ")));
  for (const part of li.querySelectorAll(".key, .detail")) part.title = part.textContent; // they may be cut off
  return li;
}

// restart empties the list, for another process.
export function restart() {
  $("log").replaceChildren();
  unsaid = [];
}

export function log(transitions) {
  for (const t of transitions.slice(-length)) $("log").prepend(transitionElement(t));
  while ($("log").children.length > length) $("log").lastElementChild.remove();
}

// announce says transitions aloud, at most every two seconds.
export function announce(transitions) {
  unsaid.push(...transitions);
  if (unsaid.length === 0 || saying !== 0) return;
  saying = setTimeout(() => {
    saying = 0;
    const name = (t) => `${visible(t.key)} is ${stateNames[t.to].toLowerCase()}`;
    const opened = unsaid.filter((t) => t.to === "open").length;
    text($("announcer"), unsaid.length <= 3 ? unsaid.map(name).join(". ") : `${unsaid.length} transitions, ${opened} of them to open`);
    unsaid = [];
  }, 2_000);
}
