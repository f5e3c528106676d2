// Where one writes. What was begun in one room is still there when one comes back to it, or when the page is loaded anew.

import { rememberTexts, rememberedTexts } from "../net/identity.js";
import { byId } from "./dom.js";

export class Composer {
  #form = byId("composer");
  #field = byId("message");
  #drafts = new Map();
  #room = null;
  #user = "";

  /**
   * @param {{onSend: (text: string) => void, onType: () => void, onEmpty: () => void, onEditLast: () => void}} heed
   */
  constructor(heed) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (!text) return;
      this.#field.value = "";
      this.#drafts.delete(this.#room);
      heed.onSend(text);
      this.#field.focus();
    });
    this.#field.addEventListener("input", () => (this.#field.value.trim() ? heed.onType() : heed.onEmpty()));
    this.#field.addEventListener("keydown", (event) => {
      // Enter also chooses a word while one writes Chinese or Japanese.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#form.requestSubmit();
      } else if (event.key === "ArrowUp" && this.#field.value === "") {
        event.preventDefault();
        heed.onEditLast();
      }
    });
    addEventListener("pagehide", () => this.#user && rememberTexts("drafts", this.#user, [...this.#begun()]));
  }

  /** Write as a user from now on: nobody sees what another has begun. */
  begin(user) {
    if (user === this.#user) return;
    this.#user = user;
    this.#drafts = new Map(rememberedTexts("drafts", user));
    this.#room = null;
    this.#field.value = "";
  }

  /** Forget what was begun. */
  end() {
    rememberTexts("drafts", this.#user, null);
    this.begin("");
  }

  #begun() {
    const texts = new Map(this.#drafts);
    if (this.#room !== null) texts.set(this.#room, this.#field.value);
    return new Map([...texts].filter(([, text]) => text.trim()));
  }

  /** @param {string} room where what is written goes. */
  show(room) {
    if (room === this.#room) return;
    this.#drafts = this.#begun();
    this.#room = room;
    this.#field.value = this.#drafts.get(room) ?? "";
    const text = `Write to ${room}`;
    this.#field.setAttribute("aria-label", text);
    this.#field.placeholder = text;
  }

  hide(hidden) {
    this.#form.hidden = hidden;
  }

  focus() {
    this.#field.focus();
  }
}
