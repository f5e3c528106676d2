// The rooms of one user over one wire: entering and coming back, the outbox of each room, and older messages.
//
// 1. Rooms are entered one after the other, the open one first, so that many rooms cost no more than the server's rate.
// 2. A room's outbox is carried out in order, one job at a time, always under the same id: what was not acknowledged is
//    sent again after coming back, and the server knows that it is the same.
// 3. A temporary error is tried again; any other one is shown to the user, who decides.

import { delay } from "../core/backoff.js";
import { Room } from "../core/room.js";
import { moderates } from "../core/token.js";
import { Signs } from "./signs.js";
import { Lost, Refused, Wire } from "./wire.js";

const PAGE = 50;
// Fewer than these fill no screen, so older ones are fetched at once.
const FULL = 25;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const encoder = new TextEncoder();

export class Chat {
  #wire;
  #heed;
  #limits = { window: 1000, messageBytes: 65_536 };
  #busy = new Set();
  #entering = false;
  #hello;

  /**
   * @param {string} url where the wire connects to.
   * @param {() => object} hello what to say first.
   * @param {{onState: (state: object) => void, onUser: (user: string) => void, onRoom: (room: Room) => void,
   *          onMessage: (room: Room, entry: object) => void, onProblem: (text: string) => void}} heed
   */
  constructor(url, hello, heed) {
    this.#heed = heed;
    this.#hello = hello;
    /** @type {Map<string, Room>} */
    this.rooms = new Map();
    /** @type {Room | null} the one that is shown. */
    this.open = null;
    this.me = "";
    this.#wire = new Wire(url, hello, {
      onState: (state) => this.#onState(state),
      onWelcome: (said) => this.#onWelcome(said),
      onSaid: (said) => this.#onSaid(said),
    });
    /** What the user does without saying anything. */
    this.signs = new Signs(this.#wire);
  }

  get state() {
    return this.#wire.state;
  }

  restart() {
    this.#wire.restart();
  }

  hurry() {
    this.#wire.hurry();
  }

  /** Leave everything behind. */
  stop() {
    this.#wire.stop();
    this.#forget();
  }

  #forget() {
    this.rooms.clear();
    this.open = null;
    this.me = "";
  }

  /** @returns {boolean} whether something was said that the server may not have. */
  get unsaid() {
    return [...this.rooms.values()].some((room) => room.outbox.length > 0);
  }

  // --- rooms

  /** Be in a room from now on. @returns {Room} */
  join(id) {
    let room = this.rooms.get(id);
    if (room === undefined) {
      room = new Room(id);
      this.#introduce(room);
      this.rooms.set(id, room);
    }
    this.#enterAll();
    return room;
  }

  #introduce(room) {
    room.me = this.me;
    room.moderates = moderates(this.#hello());
    room.limit = this.#limits.window || Infinity;
  }

  /** Be in a room no longer. */
  leave(id) {
    const room = this.rooms.get(id);
    if (room === undefined) return;
    this.rooms.delete(id);
    if (this.open === room) this.open = null;
    if (room.entered) this.#wire.request("room:leave", { room: id }).catch(() => {});
  }

  #onState(state) {
    if (state.name !== "online") {
      for (const room of this.rooms.values()) room.lose();
      this.signs.forget();
    }
    this.#heed.onState(state);
  }

  #onWelcome(said) {
    if (this.me && this.me !== said.user) this.#forget(); // what one sees is not for another
    this.me = said.user;
    this.#limits = said.limits;
    for (const room of this.rooms.values()) this.#introduce(room);
    this.#heed.onUser(said.user);
    this.#enterAll();
  }

  #onSaid(said) {
    const room = this.rooms.get(said.room);
    if (room === undefined) return;
    if (said.type === "error" && said.code === "room_closed" && said.ref === undefined) {
      room.lose();
      sleep(5_000).then(() => this.#enterAll());
    }
    const entry = room.hear(said);
    if (said.type === "presence:list") this.#onEntered(room);
    this.#heed.onRoom(room);
    if (entry) this.#heed.onMessage(room, entry);
  }

  /** Enter every room that is not entered. */
  async #enterAll() {
    if (this.#entering) return;
    this.#entering = true;
    try {
      for (let room = this.#outside(); room && this.state.name === "online"; room = this.#outside()) {
        await this.#enter(room);
      }
    } finally {
      this.#entering = false;
    }
  }

  #outside() {
    const outside = [...this.rooms.values()].filter((room) => !room.entered && room.problem === null);
    return outside.includes(this.open) ? this.open : outside[0];
  }

  async #enter(room) {
    const resume = room.position ? { resume: room.position } : {};
    try {
      await this.#insist("room:join", { room: room.id, ...resume }, () => this.rooms.get(room.id) === room);
      // One has left it while the answer was on its way.
      if (!this.rooms.has(room.id)) await this.#wire.request("room:leave", { room: room.id });
      // All of the answer comes in one piece; what is behind the first frame is on its way.
      while (!room.entered && this.rooms.get(room.id) === room && this.state.name === "online") await sleep(5);
    } catch (error) {
      if (!(error instanceof Refused)) return;
      room.problem = problemOf(error);
      this.#heed.onRoom(room);
    }
  }

  /** Try a room again that could not be entered. */
  retry(room) {
    room.problem = null;
    this.#enterAll();
  }

  #onEntered(room) {
    if (room.live.size < FULL && room.more && !room.older.length) this.older(room);
    this.#work(room);
  }

  /** Make a request, again and again while its errors are temporary and it is `wanted`. */
  async #insist(type, fields, wanted) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.#wire.request(type, fields);
      } catch (error) {
        if (!(error instanceof Refused && error.temporary && wanted())) throw error;
        await sleep(delay(tries + 1));
      }
    }
  }

  // --- what the user says

  /** Post a message. It is shown at once. */
  send(room, content) {
    this.#do(room, { kind: "send", id: newId(), content });
  }

  edit(room, id, content) {
    this.#do(room, { kind: "edit", id, content });
  }

  remove(room, id) {
    this.#do(room, { kind: "delete", id, content: "" });
  }

  /** Try a message again that was refused. */
  sendAgain(room, id) {
    const job = room.outbox.find((one) => one.id === id);
    if (job) job.problem = null;
    this.#heed.onRoom(room);
    this.#work(room);
  }

  /** Give up a message that was refused. */
  discard(room, id) {
    const job = room.outbox.find((one) => one.id === id);
    if (job) room.drop(job);
    this.#heed.onRoom(room);
  }

  #do(room, wish) {
    const job = { ...wish, at: new Date().toISOString(), tried: false, problem: null };
    room.ask(job);
    // The server would cut the connection, and again each time it is sent.
    if (this.#limits.messageBytes && sizeOf(room, job) > this.#limits.messageBytes) {
      job.problem = `This is too long: the server takes ${this.#limits.messageBytes.toLocaleString()} bytes.`;
    }
    this.#heed.onRoom(room);
    this.#work(room);
  }

  /** Carry out a room's outbox, until it is empty or the connection ends. There is one at a time. */
  async #work(room) {
    if (this.#busy.has(room)) return;
    this.#busy.add(room);
    try {
      if (room.entered && room.uncertain) await this.#lookForSent(room);
      for (let job = next(room); job && room.entered; job = next(room)) {
        await this.#carryOut(room, job);
        this.#heed.onRoom(room);
      }
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    } finally {
      this.#busy.delete(room);
    }
    // What was asked for while the last answer was on its way found us busy.
    if (room.entered && next(room)) this.#work(room);
  }

  /** The session ended while we were away: a message of ours may be in the one before, where its id is not looked for. */
  async #lookForSent(room) {
    const page = await this.#insist("history:get", { room: room.id, limit: 200 }, () => room.entered);
    room.settleFound(page.messages);
  }

  async #carryOut(room, job) {
    job.tried = true;
    try {
      await this.#insist(`message:${job.kind}`, wireOf(room, job), () => room.outbox.includes(job));
      room.drop(job);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "not_joined") this.#comeBack(room);
      this.#giveUp(room, job, error);
    }
  }

  /** Enter a room that has put us out; then its outbox goes on. */
  #comeBack(room) {
    room.lose();
    this.#enterAll();
    throw new Lost("no longer in the room");
  }

  #giveUp(room, job, error) {
    if (job.kind === "send") {
      job.problem = problemOf(error);
      return;
    }
    room.drop(job);
    if (job.kind === "delete" && error.code === "not_found") return; // somebody else was faster
    this.#heed.onProblem(`Your ${job.kind === "edit" ? "change" : "delete"} was not made. ${problemOf(error)}`);
  }

  // --- older messages

  /** Read the page before the oldest message that is known. */
  async older(room) {
    if (room.paging || !room.more || !room.entered) return;
    room.paging = true;
    this.#heed.onRoom(room);
    const before = room.pageBefore();
    const epoch = room.position?.epoch;
    try {
      const asked = { room: room.id, limit: PAGE, ...(before ? { before } : {}) };
      const page = await this.#insist("history:get", asked, () => room.entered);
      // A new window meanwhile has another page before it.
      const same = JSON.stringify(room.pageBefore()) === JSON.stringify(before) || before === null;
      if (same && epoch === room.position?.epoch) room.addPage(page);
    } catch (error) {
      if (error instanceof Refused) this.#heed.onProblem(`Older messages cannot be read. ${problemOf(error)}`);
    } finally {
      room.paging = false;
      this.#heed.onRoom(room);
    }
  }

  // --- signs of life

  /** Note that the user sees the end of a room. */
  see(room) {
    const id = room.entered ? room.see() : null;
    if (id === null) return;
    this.signs.read(room, id);
    this.#heed.onRoom(room);
  }
}

/** @returns what is to be done next: the oldest that was not refused. */
function next(room) {
  return room.outbox.find((job) => job.problem === null);
}

/** @returns {string} an id that nobody else will think of. `randomUUID` is not there on a page without TLS. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function wireOf(room, job) {
  const fields = { room: room.id, id: job.id };
  return job.kind === "delete" ? fields : { ...fields, content: job.content };
}

function sizeOf(room, job) {
  const request = { type: `message:${job.kind}`, ...wireOf(room, job), ref: 1_000_000 };
  return encoder.encode(JSON.stringify(request)).length;
}

const ADVICE = {
  forbidden: "Your token does not open this room. Ask whoever gave it to you for another one.",
  not_found: "It is not among the newest messages any more, and only those can be changed.",
  too_many_rooms: "You are in as many rooms as the server allows. Leave another one first.",
  overloaded: "The server has more to do than it can hold. Try again in a moment.",
  room_closed: "The server had to close this room. Try again in a moment.",
};

function problemOf(error) {
  return ADVICE[error.code] ?? `The server says: ${error.message}`;
}
