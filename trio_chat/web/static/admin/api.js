// What an operator asks of the server, as /api/v1/openapi.json describes it. A token goes into a header, never into an address.

const PREFIX = "api/v1";
const PATIENCE = 20_000;

/** A request that came to nothing. `status` is that of HTTP, 0 if there was no answer. The text is for people. */
export class Problem extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class Api {
  #token;

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /** @param {string} search what the names of rooms contain. @param {AbortSignal} signal */
  overview(search, signal) {
    return this.#ask("GET", `overview?${new URLSearchParams(search ? { search } : {})}`, signal);
  }

  room(id) {
    return this.#ask("GET", `rooms/${encodeURIComponent(id)}`);
  }

  presence(id) {
    return this.#ask("GET", `rooms/${encodeURIComponent(id)}/presence`);
  }

  close(id) {
    return this.#ask("POST", `rooms/${encodeURIComponent(id)}/close`);
  }

  disconnect(user) {
    return this.#ask("POST", `users/${encodeURIComponent(user)}/disconnect`);
  }

  sync() {
    return this.#ask("POST", "sync");
  }

  async #ask(method, path, signal = new AbortController().signal) {
    const answer = await this.#fetch(method, path, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]));
    const said = await answer.json().catch(() => null);
    if (answer.ok && said) return said;
    throw new Problem(answer.status, said?.message ?? `The server answered with status ${answer.status}.`);
  }

  async #fetch(method, path, signal) {
    const headers = { authorization: `Bearer ${this.#token}` };
    try {
      return await fetch(`${PREFIX}/${path}`, { method, headers, signal, cache: "no-store", credentials: "omit" });
    } catch {
      throw new Problem(0, "The server cannot be reached.");
    }
  }
}
