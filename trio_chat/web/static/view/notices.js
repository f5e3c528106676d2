// What the user has to know but did not ask for: the state of the connection, and what went wrong.

import { byId, element, setText } from "./dom.js";

const SHOWN = 8_000;

const WORDS = {
  online: "Connected",
  connecting: "Connecting…",
  waiting: "Reconnecting…",
  idle: "Not connected",
  refused: "Not connected",
};

/**
 * @param {{name: string, tries?: number, text?: string, deed?: string}} state of the wire; what to say of it and what the
 *     button says, if it is not what is always said.
 * @param {() => void} onPress the button.
 */
export function showConnection(state, onPress) {
  const bar = byId("connection");
  const online = state.name === "online";
  document.documentElement.dataset.connection = state.name;
  byId("me-state").textContent = WORDS[state.name];
  // A connection that is back at once needs no words.
  const quiet = online || state.name === "idle" || (state.name === "connecting" && state.tries === 0);
  if (quiet && state.text === undefined) {
    bar.replaceChildren();
    return;
  }
  if (bar.childElementCount === 0) {
    bar.append(element("span", {}), element("button", { type: "button", class: "link", onclick: onPress }));
  }
  setText(bar.lastChild, state.deed ?? "Try now");
  describe(bar.firstChild, state);
}

function describe(place, state) {
  const trying = state.tries > 3 ? "The server cannot be reached. Trying again…" : "Connection lost. Reconnecting…";
  // A screen reader hears it once, since it stays the same.
  setText(place, state.text ?? trying);
}

/** Say what went wrong, or what came of it, for a while. @param {...(Node | string)} text */
export function notify(...text) {
  const notice = element(
    "div",
    { class: "notice" },
    element("span", {}, ...text),
    element("button", { type: "button", class: "link", onclick: () => notice.remove(), text: "Dismiss" }),
  );
  // While a dialog is open nothing else can be reached, so it has a place of its own for them.
  (document.querySelector("dialog[open] .notices") ?? byId("notices")).append(notice);
  setTimeout(() => notice.remove(), SHOWN);
}

/**
 * Ask before something that cannot be undone.
 *
 * @param {string | (Node | string)[]} question
 * @param {string} deed what the button says that does it.
 * @returns {Promise<boolean>}
 */
export function confirmed(question, deed = "Delete") {
  const dialog = byId("confirm");
  byId("confirm-question").replaceChildren(...[question].flat());
  byId("confirm-yes").textContent = deed;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** The buttons of the dialog close it: forms may not be sent under our policy, not even to a dialog. */
export function prepareDialog() {
  byId("confirm-yes").addEventListener("click", () => byId("confirm").close("yes"));
  byId("confirm-no").addEventListener("click", () => byId("confirm").close(""));
}
