// How moments are told to people, in the language of their browser.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** @param {Date} then @param {Date} now @returns {string} how long ago it was, or the time of day. */
export function ago(then, now) {
  const passed = now - then;
  if (passed < MINUTE) return "now";
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min`;
  return clock(then);
}

/** @param {Date} then @param {boolean} seconds too. @returns {string} the time of day. */
export function clock(then, seconds = false) {
  return then.toLocaleTimeString([], { hour: "numeric", minute: "2-digit", ...(seconds && { second: "2-digit" }) });
}

/** @param {Date} then @returns {string} day and time in full. */
export function fully(then) {
  return then.toLocaleString([], { dateStyle: "full", timeStyle: "medium" });
}

/** @param {Date} then @returns {string} a name for its day that no other day has. */
export function dayKey(then) {
  return `${then.getFullYear()}-${then.getMonth() + 1}-${then.getDate()}`;
}

/** @param {Date} then @param {Date} now @returns {string} the heading of a day. */
export function dayName(then, now) {
  if (dayKey(then) === dayKey(now)) return "Today";
  const before = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayKey(then) === dayKey(before)) return "Yesterday";
  const sameYear = then.getFullYear() === now.getFullYear();
  const year = sameYear ? {} : { year: "numeric" };
  return then.toLocaleDateString([], { weekday: "long", month: "long", day: "numeric", ...year });
}
