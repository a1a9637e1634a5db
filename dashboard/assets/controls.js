// What can be done to the circuit in the dialog, after a confirmation.

import { $, text } from "./page.js";
import { stateNames, visible } from "./words.js";

const questions = {
  "force-open": ["Refuse every request", "until it is reset?", "Force open"],
  "force-closed": ["Admit every request", "until it is reset, however many fail?", "Force closed"],
  reset: ["Close the circuit", "now, forget its counts, and no longer force it?", "Reset"],
};
let key; // of the circuit
let intended; // what waits for its confirmation, a URL of the server

// offer shows the controls for a circuit, if the server has them.
export function offer(circuit) {
  key = circuit;
  ask(undefined);
  text($("outcome"), "");
  $("controls").hidden = document.documentElement.dataset.controls !== "yes";
}

// cancel takes the question back, and returns whether there was one.
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
  const [what, until, name] = questions[verb];
  text($("question"), `${what} of ${visible(key)} ${until}`);
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
