// The page: it shows the server's circuits as they change, finds and sorts them, and, where the
// server allows it, forces and resets them.

import { circuits, origin, receive, reported, scale } from "./circuits.js";
import * as details from "./details.js";
import * as filter from "./filter.js";
import { connect, tend } from "./link.js";
import * as list from "./list.js";
import { announce, log, restart } from "./log.js";
import { $, text } from "./page.js";
import { minutes, moment, named } from "./words.js";

filter.restore();
filter.onChange(list.changed);
list.onOpen(details.show);
details.onClose(list.focusCurrent);

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === $("search") || $("details").open) return;
  event.preventDefault();
  $("search").focus();
});

connect((report, whole) => {
  const first = reported === undefined;
  const { fresh, another } = receive(report, whole);
  if (another) restart();
  log(fresh);
  if (!first && !another) announce(fresh);
  describe();
  filter.tally();
  list.changed();
  details.draw();
});

// describe shows whose circuits these are, and whether they are of a dry run.
function describe() {
  text($("origin"), `${named(origin)}, pid ${origin.pid}`);
  $("origin").title = `${$("origin").textContent}, since ${moment(Date.parse(origin.since))}`;
  $("dry-run").hidden = ![...circuits.values()].some((c) => c.dry_run);
  for (const element of document.querySelectorAll(".last")) text(element, `Last ${minutes(scale.span)}`);
}

setInterval(() => {
  tend();
  list.changed();
  details.draw();
}, 1_000);
