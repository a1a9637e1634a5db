// What can be done to the circuit in the dialog, after a confirmation.

import { $, text } from "./page.js";
import { stateNames, visible } from "./words.js";

const here = "in this process only";
const questions = {
  "force-open": [(key) => `Refuse every request of ${key} until it is reset, ${here}?`, "Force open"],
  "force-closed": [(key) => `Admit every request of ${key} until it is reset, however many fail, ${here}?`, "Force closed"],
  reset: [(key) => `Close the circuit of ${key} now, forget its counts, and no longer force it, ${here}?`, "Reset"],
};
let key; // of the circuit
let intended; // the action that waits for its confirmation: a URL of the server

// offer shows the controls for a circuit, if the server has them.
export function offer(circuit) {
  key = circuit;
  ask(undefined);
  text($("outcome"), "");
  $("controls").hidden = document.documentElement.dataset.controls !== "yes";
}

// allow disables the controls that would change nothing.
export function allow(c) {
  for (const [verb, state] of [["force-open", "open"], ["force-closed", "closed"]]) {
    const button = document.querySelector(`[data-do="${verb}"]`);
    const done = c.forced && c.state === state;
    if (done && document.activeElement === button) document.querySelector('[data-do="reset"]').focus(); // or the focus would be nowhere
    button.disabled = done;
  }
}

// cancel withdraws the question. It returns whether there was one.
export function cancel() {
  if (intended === undefined) return false;
  const button = document.querySelector(`[data-do="${intended}"]`);
  ask(undefined);
  button.focus();
  return true;
}

function ask(verb) {
  intended = verb;
  $("confirm").hidden = verb === undefined;
  if (verb === undefined) return;
  const [question, name] = questions[verb];
  text($("question"), question(visible(key)));
  text($("go"), name);
  text($("outcome"), "");
  $("cancel").focus(); // so that Enter, pressed twice, does nothing
}

async function act(verb) {
  const of = key;
  const say = (s) => of === key && text($("outcome"), s); // and not of another circuit
  say("Sent, no answer yet");
  try {
    const response = await fetch(verb, { method: "POST", body: new URLSearchParams({ key: of }), signal: AbortSignal.timeout(10_000) });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${response.status}: ${answer}`);
    if (answer === "") return say("Done, and the circuit was evicted.");
    const { state, forced } = JSON.parse(answer);
    say(`Done: ${stateNames[state].toLowerCase()}${forced ? ", forced" : ""}.`);
  } catch (error) {
    say(`Not done, as far as is known. ${error.message}`);
  }
}

for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => ask(button.dataset.do));
$("cancel").addEventListener("click", cancel);
$("go").addEventListener("click", () => {
  act(intended);
  cancel();
});
