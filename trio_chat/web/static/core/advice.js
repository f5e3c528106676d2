// What an error of the server means to the people in front of the page.

const EXPIRED = "Your token has expired. Go on with a fresh one; nothing you wrote is lost.";

const ADVICE = {
  forbidden: "Your token does not open this room. Ask whoever gave it to you for another one.",
  unauthorized: "The server does not accept this token. Ask for another one.",
  not_found: "It is not among the newest messages any more, and only those can be changed.",
  too_many_rooms: "You are in as many rooms as the server allows. Leave another one first.",
  overloaded: "The server has more to do than it can hold. Try again in a moment.",
  room_closed: "The server had to close this room. Try again in a moment.",
};

// Close codes that are the user's business (docs/protocol.md).
const TOKEN_EXPIRED = 4401;
const UNAUTHORIZED = 4501;
const TOO_MANY = 4529;

/** @typedef {{code: number, reason: string}} Ending of a connection that does not come back by itself. */

/** @param {Ending} ending @returns {boolean} whether it was about who one is. */
export function isAboutToken({ code }) {
  return code === TOKEN_EXPIRED || code === UNAUTHORIZED;
}

/** @param {Ending} ending @returns {boolean} whether the token has come to its end, and nothing else was wrong. */
export function hasExpired({ code }) {
  return code === TOKEN_EXPIRED;
}

/**
 * @param {Ending} ending
 * @param {{named: boolean, ended: boolean}} who one is: by a name that nobody checks, or by a token that is over.
 * @returns {string} why there is no connection, and what to do about it.
 */
export function reasonOf({ code, reason }, { named, ended }) {
  const known = {
    [TOKEN_EXPIRED]: EXPIRED,
    [UNAUTHORIZED]: named ? reason : ended ? EXPIRED : ADVICE.unauthorized,
    [TOO_MANY]: "You are connected as often as the server allows. Close another tab, then try again.",
  };
  return known[code] ?? `The server has ended the connection (${code}${reason ? `: ${reason}` : ""}).`;
}

/** @param {{code: string, message: string}} error @returns {string} what is wrong, and what to do about it. */
export function problemOf(error) {
  return ADVICE[error.code] ?? `The server says: ${error.message}`;
}
