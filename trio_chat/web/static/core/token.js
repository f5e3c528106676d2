// What a token says of who brings it. Only the server knows whether it is true; the page shows what is worth offering.

// How long before its end a token is spoken of: a quarter of its life, within these bounds, in milliseconds.
const EARLIEST = 5 * 60_000;
const LATEST = 30_000;

/** @param {string} token a JWT (RFC 7519). @returns {object} its claims; none if it is no token. */
export function claimsOf(token) {
  try {
    const body = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(body, (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" && claims !== null ? claims : {};
  } catch {
    return {};
  }
}

/**
 * When a token ends, by this machine's clock, which may be wrong: that is good for advice, and for nothing else.
 *
 * @param {{token?: string}} identity
 * @returns {{ends: number, warn: number} | null} in milliseconds since 1970: its end, and when to speak of it; null if
 *     there is no telling.
 */
export function termOf({ token }) {
  const { exp, iat } = token === undefined ? {} : claimsOf(token);
  if (typeof exp !== "number") return null;
  const life = typeof iat === "number" ? (exp - iat) * 1000 : Infinity;
  return { ends: exp * 1000, warn: exp * 1000 - Math.min(EARLIEST, Math.max(LATEST, life / 4)) };
}

/** @param {{token?: string}} identity @returns {boolean} whether everybody's messages may be deleted with it. */
export function moderates({ token }) {
  const { roles } = token === undefined ? {} : claimsOf(token);
  return Array.isArray(roles) && roles.includes("moderator");
}
