// Who the user is: a token, or with AUTH_MODE=insecure a name. Kept by this tab only, until it is closed: two tabs may
// be two people. A token arrives in the fragment of the address, which no server, proxy or log gets to see.

import { find, keep } from "../core/kept.js";

const KEY = "trio-chat.identity";
const BEGUN = { drafts: "trio-chat.drafts", edits: "trio-chat.edits" };

/** @returns {URLSearchParams} what the fragment of the address says: `token` and `room`. */
export function fragment() {
  return new URLSearchParams(location.hash.slice(1));
}

/** Take a token out of the address, so that it is neither bookmarked nor shown. @returns {string | null} */
export function takeToken() {
  const said = fragment();
  const token = said.get("token");
  if (token === null) return null;
  said.delete("token");
  // Slashes may stay as they are, which makes a room's address readable.
  const rest = said.toString().replaceAll("%2F", "/");
  history.replaceState(null, "", rest ? `#${rest}` : location.pathname);
  return token.trim();
}

/** @param {string} key a page's own. @returns {{token: string} | {user: string} | null} */
export function remembered(mode, key = KEY) {
  const found = find("sessionStorage", key);
  return typeof found?.[mode === "insecure" ? "user" : "token"] === "string" ? found : null;
}

export function remember(identity, key = KEY) {
  keep("sessionStorage", key, identity);
}

/** What is said of a text in which there is no token. */
export const NO_TOKEN = "This is no token. It is one long line with two dots in it.";

/** @param {string} text what somebody has pasted: a token, or a link with one. @returns {string | null} */
export function tokenIn(text) {
  const bare = text.trim();
  const found = /[#&]token=([^&\s]+)/.exec(bare)?.[1] ?? bare;
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(found) ? found : null;
}

/** @returns {string[]} the rooms this user was in, in this browser. */
export function rememberedRooms(user) {
  const found = find("localStorage", `trio-chat.rooms ${user}`);
  return Array.isArray(found) ? found.filter((room) => typeof room === "string") : [];
}

/** Another tab of the same user may have other rooms, so each adds and takes away only what is its own doing. */
export function rememberRoom(user, room) {
  const known = rememberedRooms(user);
  if (!known.includes(room)) keep("localStorage", `trio-chat.rooms ${user}`, [...known, room]);
}

export function forgetRoom(user, room) {
  keep("localStorage", `trio-chat.rooms ${user}`, rememberedRooms(user).filter((one) => one !== room));
}

/** @param {"drafts" | "edits"} kind @returns {string[][]} what this user has begun to write in this tab, as it was remembered. */
export function rememberedTexts(kind, user) {
  const found = find("sessionStorage", BEGUN[kind]);
  const mine = found?.user === user && Array.isArray(found.texts) ? found.texts : [];
  return mine.filter((one) => Array.isArray(one) && one.every((part) => typeof part === "string"));
}

/** @param {"drafts" | "edits"} kind @param {string[][] | null} texts each behind what it belongs to; null forgets everybody's. */
export function rememberTexts(kind, user, texts) {
  keep("sessionStorage", BEGUN[kind], texts === null ? null : { user, texts });
}
