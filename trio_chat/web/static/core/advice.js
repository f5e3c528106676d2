// What an error of the server means to the people in front of the page.

const ADVICE = {
  forbidden: "Your token does not open this room. Ask whoever gave it to you for another one.",
  not_found: "It is not among the newest messages any more, and only those can be changed.",
  too_many_rooms: "You are in as many rooms as the server allows. Leave another one first.",
  overloaded: "The server has more to do than it can hold. Try again in a moment.",
  room_closed: "The server had to close this room. Try again in a moment.",
};

/** @param {{code: string, message: string}} error @returns {string} what is wrong, and what to do about it. */
export function problemOf(error) {
  return ADVICE[error.code] ?? `The server says: ${error.message}`;
}
