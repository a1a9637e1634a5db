// The elements of the page, and how they show texts and states. What comes from the server is set
// as text, never as HTML.

import { failing } from "./circuits.js";
import { stateNames } from "./words.js";

export const $ = (id) => document.getElementById(id);

// text changes an element only if its text differs.
export function text(element, s) {
  if (element.textContent !== s) element.textContent = s;
}

// mark shows the state of a circuit in an element, in words and as a symbol.
export function mark(element, c) {
  element.dataset.state = c.state;
  element.dataset.forced = c.forced;
  symbol(element, c.state);
  text(element.querySelector(".name"), stateNames[c.state]);
  text(element.querySelector(".forced"), c.forced ? "forced" : "");
  element.dataset.failing = failing(c);
  text(element.querySelector(".failing"), failing(c) ? "failing" : "");
}

export function symbol(element, state) {
  const use = element.querySelector(".symbol use");
  if (use.getAttribute("href") !== `#symbol-${state}`) use.setAttribute("href", `#symbol-${state}`);
}
