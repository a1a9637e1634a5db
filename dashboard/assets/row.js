// A circuit in the list.

import { now } from "./circuits.js";
import { measure } from "./measure.js";
import { $, mark, text } from "./page.js";
import { strip } from "./strip.js";
import { count, inFlight, nextProbe, period, visible, why } from "./words.js";

export function newRow(key) {
  const row = $("row").content.firstElementChild.cloneNode(true);
  row.circuit = key;
  return row;
}

// fill shows in a row what is known about its circuit now.
export function fill(row, c) {
  const part = (name) => row.querySelector(`.${name}`);
  const put = (name, s) => text(part(name), s);
  mark(row, c);
  put("key", visible(c.key));
  put("reason", why(c));
  put("since", period(now() - c.since));
  put("until", nextProbe(c));
  const [judged, more] = measure(c);
  put("judged", judged);
  put("more", more);
  part("measure").title = `${judged} ${more}`; // it may be cut off
  put("in_flight", inFlight(c));
  for (const name in c.totals) if (part(name) !== null) put(name, count(c.totals[name]));
  const limited = c.totals.limited > 0; // rare: it takes the place of another
  part("limited").parentElement.hidden = !limited;
  part("ignored").parentElement.hidden = limited;
  strip(row.querySelector(".strip svg"), c);
}
