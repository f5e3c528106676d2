// One connection to the server that comes back by itself: hello, requests and their answers, heartbeats, reconnecting.
//
// 1. What the server says is told in the order it came, answers included; an answer also settles its request's promise.
// 2. A request that has no answer when the connection ends is rejected with `Lost`: nobody knows whether it was done.
// 3. Close codes decide what happens then (docs/protocol.md): below 4500 it comes back, above it waits for `restart`.

import { delay } from "../core/backoff.js";

// A browser does not tell of pings, so after this much silence we ask whether the server is there.
const SILENCE = 25_000;
const PATIENCE = 10_000;
const LONGEST_PATIENCE = 300_000;
const TICK = 5_000;
const RATE_LIMITED = 4429;
const TOKEN_EXPIRED = 4401;
const FINAL = 4500;

/** The connection ended before the answer came. */
export class Lost extends Error {}

/** The server said no. */
export class Refused extends Error {
  /** @param {{code: string, message: string, temporary: boolean}} said */
  constructor(said) {
    super(said.message);
    this.code = said.code;
    this.temporary = said.temporary;
  }
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Wire {
  #url;
  #hello;
  #heed;
  #socket = null;
  #refs = 0;
  #waiting = new Map();
  #tries = 0;
  #timer = 0;
  #heard = 0;
  #probed = 0;
  #slow = false;
  #patience = PATIENCE;

  /**
   * @param {string} url
   * @param {() => object} hello what to say first, without its type.
   * @param {{onState: (state: object) => void, onWelcome: (said: object) => void,
   *          onSaid: (said: object) => void}} heed
   */
  constructor(url, hello, heed) {
    this.#url = url;
    this.#hello = hello;
    this.#heed = heed;
    this.state = { name: "idle" };
    setInterval(() => this.#look(), TICK);
    addEventListener("online", () => this.hurry());
    addEventListener("offline", () => this.#drop("the network is gone"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
  }

  /** Connect, or connect anew. */
  restart() {
    this.#tries = 0;
    this.#abandon();
    this.#connect();
  }

  /** Connect now if it is waiting to. */
  hurry() {
    if (this.state.name === "waiting") this.#connect();
  }

  /** End the connection and stay away. */
  stop() {
    this.#abandon();
    this.#enter({ name: "idle" });
  }

  /**
   * Make a request.
   *
   * @returns {Promise<object>} the answer. Rejected with `Refused` or `Lost`.
   */
  request(type, fields = {}) {
    return new Promise((resolve, reject) => {
      if (this.state.name !== "online") {
        reject(new Lost("not connected"));
        return;
      }
      const ref = ++this.#refs;
      this.#waiting.set(ref, { resolve, reject });
      this.#say({ type, ...fields, ref });
    });
  }

  /** Make a request, again and again while its errors are temporary and it is `wanted`. */
  async insist(type, fields, wanted) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.request(type, fields);
      } catch (error) {
        if (!(error instanceof Refused && error.temporary && wanted())) throw error;
        await sleep(delay(tries + 1));
      }
    }
  }

  /** Say something that needs no answer; not connected, it is not said. */
  tell(type, fields = {}) {
    if (this.state.name === "online") this.#say({ type, ...fields });
  }

  #say(request) {
    this.#socket.send(JSON.stringify(request));
  }

  #enter(state) {
    this.state = state;
    this.#heed.onState(state);
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#enter({ name: "connecting", tries: this.#tries });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#heard = performance.now();
    this.#probed = 0;
    socket.onopen = () => this.#say({ type: "hello", ref: "hello", ...this.#hello() });
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
  }

  #hear(said) {
    this.#heard = performance.now();
    // It answers, and soon.
    if (this.#probed && this.#heard - this.#probed < PATIENCE) this.#patience = PATIENCE;
    this.#probed = 0;
    if (said.type === "welcome") {
      this.#tries = 0;
      this.#enter({ name: "online" });
      this.#heed.onWelcome(said);
      return;
    }
    this.#heed.onSaid(said);
    const waiting = this.#waiting.get(said.ref);
    if (waiting === undefined) return;
    this.#waiting.delete(said.ref);
    if (said.type === "error") waiting.reject(new Refused(said));
    else waiting.resolve(said);
  }

  #end(code, reason) {
    this.#abandon();
    if (code === TOKEN_EXPIRED || (code >= FINAL && code < 5000)) {
      this.#enter({ name: "refused", code, reason });
      return;
    }
    this.#slow = code === RATE_LIMITED;
    this.#wait();
  }

  #wait() {
    const pause = this.#slow ? Math.max(delay(this.#tries), 5_000) : delay(this.#tries);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#enter({ name: "waiting", tries: this.#tries, until: performance.now() + pause });
  }

  /** Let go of the socket, if there is one, and of whoever waits for an answer. */
  #abandon() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Lost("the connection ended"));
  }

  /**
   * A connection that says nothing, not even when asked, is gone, whatever the browser believes.
   *
   * On a slow line it may be in the middle of a large message, of which a browser does not tell: so each time we wait
   * longer than the last.
   */
  #look() {
    if (this.#socket === null) return;
    const now = performance.now();
    if (this.#probed && now - this.#probed > this.#patience) {
      this.#patience = Math.min(this.#patience * 4, LONGEST_PATIENCE);
      this.#drop("the server does not answer");
    } else if (!this.#probed && now - this.#heard > SILENCE) this.#probe(now);
  }

  #probe(now) {
    this.#probed = now;
    this.tell("heartbeat");
  }

  #drop(reason) {
    if (this.#socket !== null) this.#end(1006, reason);
  }

  /** Somebody is looking again, perhaps after hours of sleep: find out at once. */
  #wake() {
    this.hurry();
    if (this.state.name === "online" && !this.#probed) {
      this.#probe(performance.now());
      setTimeout(() => this.#look(), this.#patience + 100);
    }
  }
}
