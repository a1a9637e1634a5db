// Which circuits are shown, in which order, and how many there are.

import { circuits, failing, origin, share } from "./circuits.js";
import { $, text } from "./page.js";
import { count, named, visible } from "./words.js";

const form = $("filter");

const orders = {
  state: (c) => ({ open: 0, half_open: 1, closed: failing(c) ? 2 : c.forced ? 3 : 4 })[c.state],
  key: () => 0,
  since: (c) => -c.since,
  until: (c) => c.until,
  share: (c) => -share(c),
  in_flight: (c) => -c.in_flight,
  failure: (c) => -c.totals.failure,
  refused: (c) => -c.totals.refused,
};

const belongs = (c, state) => state === "all" || c.state === state || (state === "forced" && c.forced);

// selected returns the circuits that the form asks for, in order.
export function selected() {
  const { state, search, sort, reverse } = Object.fromEntries(new FormData(form));
  const words = search.toLowerCase().split(/\s+/).filter((w) => w !== "");
  const found = (c) => {
    const haystack = words.length > 0 && `${visible(c.key)}\n${c.reason}`.toLowerCase();
    return words.every((w) => haystack.includes(w));
  };
  const list = [...circuits.values()].filter((c) => belongs(c, state) && found(c));
  const ranks = new Map(list.map((c) => [c, orders[sort](c)]));
  const sign = reverse ? -1 : 1;
  return list.sort((a, b) => sign * (ranks.get(a) - ranks.get(b) || (a.key < b.key ? -1 : 1)));
}

// tally shows how many circuits are in each state: on the tiles, and in the title and icon of the
// tab.
export function tally() {
  const sums = { all: 0, open: 0, half_open: 0, closed: 0, forced: 0 };
  for (const c of circuits.values()) for (const s in sums) if (belongs(c, s)) sums[s]++;
  for (const s in sums) text($(`count-${s}`), count(sums[s]));
  document.title = `${sums.open > 0 ? `(${count(sums.open)} open) ` : ""}Circuits of ${named(origin)}`;
  const icon = sums.open > 0 ? "icon-open.svg" : "icon.svg";
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
}

// onChange calls changed when the form asks for something else, and puts that into the URL, so that
// a reload keeps it.
export function onChange(changed) {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    history.replaceState(null, "", `#${new URLSearchParams(new FormData(form))}`);
    markOrder();
    changed();
  });
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      $("reverse").checked = button.dataset.sort === $("sort").value && !$("reverse").checked;
      $("sort").value = button.dataset.sort;
      form.dispatchEvent(new Event("input"));
    });
  }
}

// restore fills the form in from the URL.
export function restore() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  form.elements.state.value = chosen.get("state") ?? "all";
  $("search").value = chosen.get("search");
  $("sort").value = chosen.get("sort");
  if ($("sort").value === "") $("sort").value = "state";
  $("reverse").checked = chosen.has("reverse");
  markOrder();
}

// markOrder shows in the table's head how it is sorted.
function markOrder() {
  for (const header of document.querySelectorAll("#circuits thead th")) {
    for (const button of header.children) button.classList.toggle("by", button.dataset.sort === $("sort").value);
    if (header.querySelector(".by") === null) header.removeAttribute("aria-sort");
    else header.setAttribute("aria-sort", $("reverse").checked ? "descending" : "ascending");
  }
}
