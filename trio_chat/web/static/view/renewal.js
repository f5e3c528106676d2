// Asking for a fresh token where one is, so that neither the room nor what one has begun to write is left.

import { NO_TOKEN, tokenIn } from "../net/identity.js";
import { byId } from "./dom.js";

export class Renewal {
  #dialog = byId("renewal");
  #field = byId("fresh-token");
  #button = byId("renewal-yes");
  #heed;

  /**
   * @param {{onToken: (token: string) => Promise<string | null>, onDone: () => void}} heed goes on with a token, which
   *     resolves to what is wrong with it, if anything; and knows that one does.
   */
  constructor(heed) {
    this.#heed = heed;
    byId("renewal-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("renewal-no").addEventListener("click", () => this.close());
    this.#dialog.addEventListener("close", () => {
      this.#field.value = "";
      this.#say("");
    });
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#field.focus();
  }

  close() {
    this.#dialog.close();
  }

  async #submit() {
    if (this.#button.disabled) return;
    const token = tokenIn(this.#field.value);
    if (token === null) {
      this.#complain(NO_TOKEN);
      return;
    }
    this.#say("");
    this.#try(true);
    const problem = await this.#heed.onToken(token);
    this.#try(false);
    if (problem !== null) {
      this.#complain(problem);
    } else if (this.#dialog.open) {
      this.close();
      this.#heed.onDone();
    }
  }

  /** Without a server it may take a while. */
  #try(trying) {
    this.#button.disabled = trying;
    this.#button.textContent = trying ? "Trying…" : "Go on";
  }

  #complain(problem) {
    this.#say(problem);
    this.#field.focus();
  }

  #say(problem) {
    byId("renewal-problem").textContent = problem;
  }
}
