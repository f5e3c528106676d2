// Going on with another token of the same user: on the connection there is, or else on the next one.

import { problemOf } from "../core/advice.js";
import { Refused } from "./wire.js";

export class Renewing {
  #wire;
  #judged = null;

  /** @param {Wire} wire whose hello says the new token already. */
  constructor(wire) {
    this.#wire = wire;
  }

  /** @returns {boolean} whether one comes back with a token of which nobody knows yet what the server thinks. */
  get open() {
    return this.#judged !== null;
  }

  /**
   * @param {string} token
   * @returns {Promise<string | null>} what is wrong with it; null once one goes on. As long as no server is there, neither.
   */
  async renew(token) {
    try {
      await this.#wire.insist("token:refresh", { token }, () => true);
      return null;
    } catch (error) {
      if (error instanceof Refused) return problemOf(error);
    }
    return new Promise((resolve) => {
      this.#settle("Another token was given meanwhile.");
      this.#judged = resolve;
      this.#wire.restart();
    });
  }

  /** Know what has become of the connection. @param {object} state of the wire. */
  hear(state) {
    if (state.name === "online") this.#settle(null);
    else if (state.name === "refused") this.#settle(problemOf({ code: "unauthorized" }));
    else if (state.name === "idle") this.#settle("You have signed out.");
  }

  #settle(problem) {
    this.#judged?.(problem);
    this.#judged = null;
  }
}
