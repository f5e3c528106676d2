// Asking for the same thing again and again, politely.
//
// 1. There is never more than one request on its way, and none while the page is hidden.
// 2. After an answer the next request comes in two seconds; after a failure as `backoff` says, but no sooner.

import { delay } from "../core/backoff.js";

const EVERY = 2_000;

export class Poll {
  #ask;
  #heed;
  #timer = 0;
  #request = null;
  #hurried = false;
  #tries = 0;
  #running = false;

  /**
   * @param {(signal: AbortSignal) => Promise<object>} ask
   * @param {{onAnswer: (answer: object) => void, onTrouble: (error: Error) => void, onPause: () => void}} heed
   */
  constructor(ask, heed) {
    this.#ask = ask;
    this.#heed = heed;
    document.addEventListener("visibilitychange", () => this.#look());
  }

  start() {
    this.#running = true;
    this.#tries = 0;
    this.now();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#request?.abort();
  }

  /** Ask at once, or as soon as the request that is on its way has come back. */
  now() {
    clearTimeout(this.#timer);
    if (this.#request) this.#hurried = true;
    else this.#turn();
  }

  #look() {
    if (!this.#running) return;
    if (!document.hidden) this.now();
    else if (!this.#request) clearTimeout(this.#timer);
    if (document.hidden) this.#heed.onPause();
  }

  async #turn() {
    if (!this.#running || document.hidden) return;
    const request = (this.#request = new AbortController());
    let wait = EVERY;
    try {
      const answer = await this.#ask(request.signal);
      this.#tries = 0;
      if (!request.signal.aborted) this.#heed.onAnswer(answer);
    } catch (error) {
      wait = Math.max(EVERY, delay(this.#tries++));
      if (!request.signal.aborted) this.#heed.onTrouble(error);
    }
    this.#request = null;
    if (!this.#running) return;
    this.#timer = setTimeout(() => this.#turn(), this.#hurried ? 0 : wait);
    this.#hurried = false;
  }
}
