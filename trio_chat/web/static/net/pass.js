// What lets the user in, a name or a token, and how one goes on when a token comes to its end.
//
// 1. Whose token is over stays where they are: rooms and drafts wait for a fresh one. Whose access was withdrawn does not.
// 2. A fresh token is tried before it is kept; one that is no good changes nothing.

import { hasExpired, isAboutToken, reasonOf } from "../core/advice.js";
import { isolated } from "../core/names.js";
import { claimsOf, termOf } from "../core/token.js";
import { clock } from "../core/when.js";
import { remember } from "./identity.js";

export class Pass {
  #named;
  #over = null;

  /** @param {boolean} named whether a name is enough. */
  constructor(named) {
    this.#named = named;
    /** @type {{token: string} | {user: string} | null} */
    this.identity = null;
    /** @type {Chat} where one is in with it. */
    this.chat = null;
  }

  /** Be this from now on, in this tab; null for nobody. */
  hold(identity) {
    this.identity = identity;
    remember(identity);
  }

  /** Know what has become of the connection. @param {object} state of the wire. */
  hear(state) {
    if (state.name === "refused" && hasExpired(state)) this.#over = this.identity;
  }

  /** @returns {boolean} whether the token is over: the server has said so, or else this machine's clock does. */
  get #ended() {
    if (this.identity === null) return false;
    return this.#over === this.identity || Date.now() >= (termOf(this.identity)?.ends ?? Infinity);
  }

  /** @returns {boolean} whether one was in, and a fresh token is all that it takes to go on. */
  lapsed(state) {
    return this.chat.me !== "" && isAboutToken(state) && (this.chat.renewing || this.#ended);
  }

  /** @returns {string} why the server has refused. */
  why(state) {
    return reasonOf(state, { named: this.#named, ended: this.#ended });
  }

  /** @returns {{text?: string, deed?: string}} what is to be said of a state of the wire, and what can be done about it. */
  remarkOn(state) {
    if (this.lapsed(state)) return { text: this.why(state), deed: "Enter a fresh token" };
    if (state.name === "refused") return { text: this.why(state) };
    const term = termOf(this.identity ?? {});
    if (state.name !== "online" || term === null || Date.now() < term.warn) return {};
    return { text: `Your token expires at ${clock(new Date(term.ends))}.`, deed: "Enter a fresh one" };
  }

  /** Go on with a fresh token. @returns {Promise<string | null>} what is wrong with it; null once one goes on. */
  async renew(token) {
    if (claimsOf(token).sub !== this.chat.me) {
      return `This is no token for ${isolated(this.chat.me)}. To be somebody else, sign out first.`;
    }
    const before = this.identity;
    const fresh = { token };
    this.identity = fresh;
    const problem = await this.chat.renew(token);
    if (this.identity !== fresh) return problem; // meanwhile one has come in anew
    if (problem === null) {
      remember(fresh);
      return null;
    }
    this.identity = before;
    if (this.chat.state.name === "refused" && !this.#ended) this.chat.restart();
    return problem;
  }
}
