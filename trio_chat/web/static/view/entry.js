// The way in: a name where nobody checks it, a token otherwise.

import { NO_TOKEN, tokenIn } from "../net/identity.js";
import { byId } from "./dom.js";

const LONGEST = 128;

/**
 * @param {"insecure" | "token"} mode
 * @param {(identity: {user: string} | {token: string}) => void} onIdentity
 */
export function prepareEntry(mode, onIdentity) {
  const insecure = mode === "insecure";
  // The dashboard takes tokens only.
  if (insecure) byId("entry-name").hidden = false;
  byId("entry-token").hidden = insecure;
  byId("entry-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const identity = insecure ? named() : tokened();
    if (identity) onIdentity(identity);
  });
}

/** @param {string | null} why one is here again. */
export function showEntry(mode, why = null) {
  byId("app").hidden = true;
  byId("entry").hidden = false;
  problem(why ?? "");
  fieldOf(mode).focus();
}

export function hideEntry() {
  byId("entry").hidden = true;
  byId("app").hidden = false;
}

function fieldOf(mode) {
  return byId(mode === "insecure" ? "name" : "token");
}

function named() {
  const user = byId("name").value.trim();
  if (!user) return problem("Type a name, so that the others know who is speaking.");
  if ([...user].length > LONGEST) return problem(`A name has at most ${LONGEST} characters.`);
  return { user };
}

function tokened() {
  const field = byId("token");
  const token = tokenIn(field.value);
  if (token === null) return problem(NO_TOKEN);
  field.value = "";
  return { token };
}

/** @returns {null} */
function problem(text) {
  byId("entry-problem").textContent = text;
  return null;
}
