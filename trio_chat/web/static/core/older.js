// What stands above the window: messages that were read back, and those that have left the window since. Pure.
//
// It touches the window without a hole, or it is empty.

/** @typedef {{epoch: string, seq: number}} Position */

// What was scrolled back to, and has left the window, need not be held for ever.
const MOST = 3000;

/** @param {Position} one @returns {string} what no other entry of the room is called. */
export function keyOf(one) {
  return `${one.epoch}/${one.seq}`;
}

/** @returns {Position} */
export function positionOf({ epoch, seq }) {
  return { epoch, seq };
}

export class Older {
  /** Oldest first. */
  entries = [];
  /** @type {Position | null} where the next page ends; null for the newest message. */
  before = null;
  /** Whether there may be older messages. */
  more = true;

  forget() {
    this.entries = [];
    this.before = null;
    this.more = true;
  }

  /** Take in what has left the window. Where nobody has scrolled back to there it would touch nothing. */
  follow(entry) {
    if (this.entries.length) this.entries.push(entry);
  }

  /** Take in a whole window, whose session is over. @param {object[]} entries */
  retire(entries) {
    if (!this.entries.length && entries.length) this.before = positionOf(entries[0]);
    this.entries.push(...entries);
  }

  /** Take in a page that was asked for. @param {object} said the page. @param {Iterable<object>} live the window. */
  addPage(said, live) {
    const kept = said.source === "archive" ? "archive" : "redis";
    const known = new Set([...this.entries, ...live].map(keyOf));
    const found = said.messages.filter((one) => !known.has(keyOf(one)));
    this.entries.unshift(...found.map((one) => ({ ...one, kept })));
    this.more = said.more && said.before !== null;
    if (said.before) this.before = said.before;
  }

  /** Let go of the oldest, if there are too many. They can be read back. */
  bound() {
    if (this.entries.length <= MOST) return;
    this.entries = this.entries.slice(-MOST);
    this.before = positionOf(this.entries[0]);
    this.more = true;
  }
}
