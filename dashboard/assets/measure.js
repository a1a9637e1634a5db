// What the rules count of a circuit.

import { counted, opening } from "./circuits.js";
import { count } from "./words.js";

const percent = (part, n) => (n > 0 ? `${Math.round((100 * Math.min(part, n)) / n)}%` : "");
const failed = (n) => (n.requests > 0 ? `${count(n.failures)} of ${count(n.requests)} failed` : "");

// What opened a circuit, by the reason of the transition: the measure, and more about it.
const measures = {
  consecutive_failures: (n) => [`${count(n.consecutive_failures)} in a row`, failed(n)],
  failure_ratio: (n) => [failed(n), percent(n.failures, n.requests)],
  slow_ratio: (n) => [`${count(n.slow)} of ${count(n.requests)} slow`, percent(n.slow, n.requests)],
  trip_when: (n) => ["TripWhen", failed(n)],
  shared: () => ["other processes", ""],
  silence: () => ["silence", ""],
  limited: () => ["asked for less", ""],
};

// measure returns what the rules count now, or what opened the circuit: in a few words, and more.
export function measure(c) {
  const n = counted(c);
  if (c.state !== "closed") {
    if (c.forced) return ["forced", ""];
    return measures[opening(c)?.reason]?.(n) ?? ["\u2013", ""];
  }
  if (n.consecutive_failures > 1) return measures.consecutive_failures(n);
  if (n.slow > n.failures) return measures.slow_ratio(n);
  if (n.requests > 0) return measures.failure_ratio(n);
  return ["\u2013", ""];
}
