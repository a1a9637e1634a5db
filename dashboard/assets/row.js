// A circuit in the list.

import { counted, now, share } from "./circuits.js";
import { $, mark, text } from "./page.js";
import { strip } from "./strip.js";
import { count, nextProbe, period, visible, why } from "./words.js";

export function newRow(key) {
  const row = $("row").content.firstElementChild.cloneNode(true);
  row.circuit = key;
  return row;
}

// fill makes a row say what is known of its circuit now.
export function fill(row, c) {
  const put = (name, s) => text(row.querySelector(`.${name}`), s);
  mark(row, c);
  put("key", visible(c.key));
  put("reason", why(c));
  put("since", period(now() - c.since));
  put("until", nextProbe(c));
  const n = counted(c);
  put("percent", n.requests > 0 ? `${Math.round(100 * share(c))}%` : "\u2013");
  put("of", n.requests > 0 ? `${count(n.failures)} of ${count(n.requests)}` : "");
  put("in_flight", count(c.in_flight));
  for (const name in c.totals) put(name, count(c.totals[name]));
  strip(row.querySelector(".strip svg"), c);
}
