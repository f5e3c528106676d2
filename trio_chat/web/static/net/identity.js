// Who the user is: a token, or with AUTH_MODE=insecure a name. Kept by this tab only, until it is closed: two tabs may
// be two people. A token arrives in the fragment of the address, which no server, proxy or log gets to see.

const KEY = "trio-chat.identity";

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
  const found = JSON.parse(sessionStorage.getItem(key) ?? "null");
  return found && (mode === "insecure" ? "user" : "token") in found ? found : null;
}

export function remember(identity, key = KEY) {
  if (identity === null) sessionStorage.removeItem(key);
  else sessionStorage.setItem(key, JSON.stringify(identity));
}

/** @param {string} text what somebody has pasted: a token, or a link with one. @returns {string | null} */
export function tokenIn(text) {
  const bare = text.trim();
  const found = /[#&]token=([^&\s]+)/.exec(bare)?.[1] ?? bare;
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(found) ? found : null;
}

/** @returns {string[]} the rooms this user was in, in this browser. */
export function rememberedRooms(user) {
  const found = JSON.parse(localStorage.getItem(`trio-chat.rooms ${user}`) ?? "[]");
  return Array.isArray(found) ? found.filter((room) => typeof room === "string") : [];
}

export function rememberRooms(user, rooms) {
  localStorage.setItem(`trio-chat.rooms ${user}`, JSON.stringify([...rooms]));
}
