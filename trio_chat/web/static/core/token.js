// What a token says of who brings it. Only the server knows whether it is true; the page shows what is worth offering.

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

/** @param {{token?: string}} identity @returns {boolean} whether everybody's messages may be deleted with it. */
export function moderates({ token }) {
  const { roles } = token === undefined ? {} : claimsOf(token);
  return Array.isArray(roles) && roles.includes("moderator");
}
