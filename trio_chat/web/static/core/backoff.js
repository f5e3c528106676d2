// When to come back after a lost connection, or to repeat a request: half a second, then twice as long each time up to
// ten, each varied, so that a server that restarts does not meet everybody at once.

const FIRST = 500;
const LONGEST = 10_000;

/**
 * @param {number} tries how many have failed already, 0 for the first wait.
 * @param {() => number} random as Math.random.
 * @returns {number} milliseconds to wait.
 */
export function delay(tries, random = Math.random) {
  const full = Math.min(FIRST * 2 ** tries, LONGEST);
  return full * (0.5 + random() / 2);
}
