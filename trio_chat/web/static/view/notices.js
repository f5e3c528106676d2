// What the user has to know but did not ask for: the state of the connection, and what went wrong.

import { byId, element } from "./dom.js";

const SHOWN = 8_000;

let timer = 0;

/** @param {object} state of the wire. @param {() => void} onHurry */
export function showConnection(state, onHurry) {
  clearTimeout(timer);
  const bar = byId("connection");
  const online = state.name === "online";
  document.documentElement.dataset.connection = state.name;
  byId("me-state").textContent = { online: "Connected", connecting: "Connecting…", idle: "Not connected" }[state.name] ?? "Reconnecting…";
  // A connection that is back at once needs no words.
  if (online || state.name === "idle" || (state.name === "connecting" && state.tries === 0)) {
    bar.replaceChildren();
    return;
  }
  if (bar.childElementCount === 0) {
    bar.append(
      element("span", {}),
      element("button", { type: "button", class: "link", onclick: onHurry, text: "Try now" }),
    );
  }
  describe(bar.firstChild, state);
}

function describe(place, state) {
  const seconds = Math.ceil((state.until - performance.now()) / 1000);
  // Counting down is for the eyes; a screen reader hears the sentence once, since it stays the same.
  const text = state.tries > 3 ? "The server cannot be reached. Trying again…" : "Connection lost. Reconnecting…";
  if (place.textContent !== text) place.textContent = text;
  place.title = seconds > 0 ? `Next attempt in ${seconds} s` : "";
}

/** Say what went wrong, for a while. */
export function notify(text) {
  const notice = element(
    "div",
    { class: "notice" },
    element("span", { text }),
    element("button", { type: "button", class: "link", onclick: () => notice.remove(), text: "Dismiss" }),
  );
  byId("notices").append(notice);
  setTimeout(() => notice.remove(), SHOWN);
}

/** Ask before something that cannot be undone. @returns {Promise<boolean>} */
export function confirmed(question) {
  const dialog = byId("confirm");
  byId("confirm-question").textContent = question;
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
