// The page: shows what the server says of its circuits as it changes, finds and
// sorts them, and, where the server allows it, forces and resets them.

import { receive, reported } from "./circuits.js";
import * as details from "./details.js";
import * as filter from "./filter.js";
import { connect, tend } from "./link.js";
import * as list from "./list.js";
import { announce, log } from "./log.js";
import { $, text } from "./page.js";

text($("origin"), location.host);
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
  const transitions = receive(report, whole);
  log(transitions);
  if (!first) announce(transitions);
  filter.tally();
  list.changed();
  details.draw();
});

setInterval(() => {
  tend();
  list.refresh();
  details.draw();
}, 1_000);
