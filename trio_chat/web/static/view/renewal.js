// Asking for a fresh token where one is, so that neither the room nor what one has begun to write is left.

import { NO_TOKEN, tokenIn } from "../net/identity.js";
import { byId } from "./dom.js";

export class Renewal {
  #dialog = byId("renewal");
  #field = byId("fresh-token");
  #button = byId("renewal-yes");
  #onToken;

  /** @param {(token: string) => Promise<string | null>} onToken goes on with it; resolves to what is wrong, if anything. */
  constructor(onToken) {
    this.#onToken = onToken;
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
    this.#button.disabled = true;
    const problem = await this.#onToken(token);
    this.#button.disabled = false;
    if (problem === null) this.close();
    else this.#complain(problem);
  }

  #complain(problem) {
    this.#say(problem);
    this.#field.focus();
  }

  #say(problem) {
    byId("renewal-problem").textContent = problem;
  }
}
