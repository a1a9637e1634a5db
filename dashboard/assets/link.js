// The link to the server: a stream of events, and polls while no events come.

import { reported, silence } from "./circuits.js";
import { $, text } from "./page.js";
import { time } from "./words.js";

let source;
let take; // called with each report
let opened = 0; // when the latest stream was opened; this and the next three are on the clock of performance.now
let streamed = -Infinity; // when the latest event came
let heard = -Infinity; // when the latest report came
let polled = -Infinity; // when the latest poll began
let polling = false;

// connect calls receive with each report of the server, and whether it is whole.
export function connect(receive) {
  take = (report, whole) => {
    heard = performance.now();
    receive(report, whole);
  };
  if (!document.hidden) stream();
  document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : stream()));
}

// tend is to be called every second. While the stream brings nothing it polls, and opens another
// stream now and then. A hidden page has no stream, because all tabs share the six connections of
// HTTP/1.1; it polls, for its title.
export function tend() {
  if (!streaming()) {
    if (!document.hidden && performance.now() - opened > 15_000) stream();
    poll(document.hidden ? 10_000 : 2_000);
  }
  show();
}

const streaming = () => source?.readyState === EventSource.OPEN && performance.now() - streamed < silence;

function stream() {
  source?.close();
  opened = performance.now();
  source = new EventSource("events");
  const event = (whole) => (e) => {
    streamed = performance.now();
    take(JSON.parse(e.data), whole);
    show();
  };
  source.addEventListener("all", event(true));
  source.addEventListener("change", event(false));
}

async function poll(interval) {
  if (polling || performance.now() - polled < interval) return;
  polling = true;
  polled = performance.now();
  try {
    const response = await fetch("circuits.json", { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(response.statusText);
    const report = await response.json();
    if (!streaming()) take(report, true);
  } catch {
    // show says since when the server was not heard.
  } finally {
    polling = false;
    show();
  }
}

function show() {
  const lost = performance.now() - heard > silence;
  const link = streaming() ? "live" : lost ? "none" : "polling";
  text($("link"), { live: "Live", polling: "Polling", none: reported === undefined ? "Connecting" : "No connection" }[link]);
  $("link").dataset.link = link;
  document.body.classList.toggle("stale", lost && reported !== undefined);
  text($("heard"), reported === undefined ? "" : time(reported));
  const since = reported === undefined ? "yet." : `since ${time(reported)}. What you see is from then.`;
  const alarm = lost && performance.now() > silence ? `No word from the server ${since}` : "";
  for (const element of document.querySelectorAll("[role=alert]")) text(element, alarm);
}
