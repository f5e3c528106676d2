// Signs of life that are not messages: writing, and being here. None is worth repeating: what is lost is lost.

const TYPING_AGAIN = 10_000;
const TYPING_STOPS = 5_000;
const PRESENCE = 60_000;
// In a room where much is said one reads on all the time, and the server counts that as requests.
const READING = 1_000;

export class Signs {
  #wire;
  #typing = new Map();
  #stirred = 0;
  #reading = new Map();

  /** @param {Wire} wire */
  constructor(wire) {
    this.#wire = wire;
  }

  /** Know nothing of what was told on a connection that is gone. */
  forget() {
    for (const { timer } of this.#typing.values()) clearTimeout(timer);
    this.#typing.clear();
    this.#stirred = 0;
    for (const { timer } of this.#reading.values()) clearTimeout(timer);
    this.#reading.clear();
  }

  /** Note up to where the user has read: the first time at once, then every second at most. */
  read(room, id) {
    const reading = this.#reading.get(room.id);
    if (reading) reading.id = id;
    else this.#tellRead(room.id, id);
  }

  #tellRead(room, id) {
    this.#wire.tell("receipt:update", { room, lastReadMessageId: id });
    const reading = { id: null, timer: setTimeout(() => this.#readOn(room), READING) };
    this.#reading.set(room, reading);
  }

  #readOn(room) {
    const { id } = this.#reading.get(room);
    this.#reading.delete(room);
    if (id !== null) this.#tellRead(room, id);
  }

  /** Note that the user is writing. */
  type(room) {
    if (!room.entered) return;
    const now = performance.now();
    const typing = this.#typing.get(room.id);
    clearTimeout(typing?.timer);
    const timer = setTimeout(() => this.stopTyping(room), TYPING_STOPS);
    const again = !typing || now - typing.at > TYPING_AGAIN;
    this.#typing.set(room.id, { timer, at: again ? now : typing.at });
    if (again) this.#wire.tell("typing:start", { room: room.id });
  }

  /** Note that the user has stopped writing. @param {boolean} posted in which case the server knows. */
  stopTyping(room, posted = false) {
    const typing = this.#typing.get(room.id);
    if (!typing) return;
    clearTimeout(typing.timer);
    this.#typing.delete(room.id);
    if (!posted) this.#wire.tell("typing:stop", { room: room.id });
  }

  /** Note that the user is doing something, so that who only reads counts as being here. */
  stir(room) {
    const now = performance.now();
    if (!room?.entered || (this.#stirred && now - this.#stirred < PRESENCE)) return;
    this.#stirred = now;
    this.#wire.tell("presence:heartbeat", { room: room.id });
  }
}
