// What a browser keeps for the page. Some keep nothing for anybody, and what is kept may be anything: both mean that
// nothing is found, never that the page does not work.

/** @typedef {"localStorage" | "sessionStorage"} Place of this browser, or of this tab until it is closed. */

/** @param {Place} place @param {string} key @returns {unknown} what was kept, null if there is nothing to be read. */
export function find(place, key) {
  try {
    return JSON.parse(globalThis[place].getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Place} place @param {string} key @param {unknown} value null forgets it. */
export function keep(place, key, value) {
  try {
    if (value === null) globalThis[place].removeItem(key);
    else globalThis[place].setItem(key, JSON.stringify(value));
  } catch {
    // It is known until the page is left, then.
  }
}
