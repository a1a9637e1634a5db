// The list of circuits. Only the rows in sight are in the page, even of a thousand.

import { circuits, reported } from "./circuits.js";
import { selected } from "./filter.js";
import { $, text } from "./page.js";
import { fill, newRow } from "./row.js";

const rows = $("rows");
const elements = new Map(); // rows that are in the page, by key
let list = []; // the circuits to be shown, in order
let stale = true; // whether list must be selected again
let current; // the key of the row that the keyboard is at
let place = 0; // the index of that row in list
let version = 0; // rises when rows may have to be filled again
let frame = 0; // the requested animation frame, 0 if there is none

// changed draws the list again. It is called after a report, another choice, or a second.
export function changed() {
  stale = true;
  version++;
  drawSoon();
}

// drawSoon draws before the next time that the browser paints, which a hidden tab never does.
function drawSoon() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (stale) select();
    draw();
  });
}

function select() {
  stale = false;
  list = selected();
  text($("none"), circuits.size > 0 ? "No circuit matches." : "There is no circuit yet: no request has been made.");
  $("none").hidden = list.length > 0 || reported === undefined;
}

// draw puts into the page the rows in sight, a few around them, and the one that has the focus.
function draw() {
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
  arrange(wanted.map((i) => position(list[i], i, height)), focused);
  if (focused && !focused.isConnected) focusCurrent();
}

// position returns the row of a circuit, where it belongs and up to date.
function position(c, i, height) {
  const row = elements.get(c.key) ?? newRow(c.key);
  elements.set(c.key, row);
  row.style.transform = `translateY(${i * height}px)`;
  row.setAttribute("aria-rowindex", i + 2);
  row.querySelector(".key").tabIndex = c.key === current ? 0 : -1;
  if (row.version !== version) fill(row, c);
  row.version = version;
  return row;
}

// arrange puts the elements in order. The one that has the focus would lose it by moving, so the
// others move around it.
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

// focusCurrent moves the focus to the current row, or to the search if the list is empty.
export function focusCurrent() {
  (elements.get(current)?.querySelector(".key") ?? $("search")).focus({ preventScroll: true });
}

// go moves the focus to a row, and scrolls it into sight.
function go(to) {
  place = Math.max(0, Math.min(to, list.length - 1));
  current = list[place].key;
  draw();
  elements.get(current).scrollIntoView({ block: "nearest" });
  focusCurrent();
}

// goTo moves the focus as a key of the keyboard says. It returns whether the key means a move.
function goTo(key) {
  const page = Math.max(1, Math.floor(innerHeight / elements.get(current).offsetHeight) - 2);
  const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: Infinity }[key];
  if (to !== undefined) go(to);
  return to !== undefined;
}

// onOpen calls open with the key of a circuit that somebody wants to see.
export function onOpen(open) {
  rows.addEventListener("focusin", (event) => (current = event.target.closest("tr").circuit));
  rows.addEventListener("click", (event) => {
    current = event.target.closest("tr").circuit;
    if (getSelection().isCollapsed) open(current);
  });
  rows.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (goTo(event.key)) event.preventDefault();
  });
  addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("resize", drawSoon);
}
