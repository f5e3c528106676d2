// The rooms of one user over one wire: entering and coming back, and older messages. What is said there is the outbox's.
//
// 1. Rooms are entered one after the other, the open one first, so that many rooms cost no more than the server's rate.
// 2. A temporary error is tried again; any other one is shown to the user, who decides.

import { problemOf } from "../core/advice.js";
import { Room } from "../core/room.js";
import { moderates } from "../core/token.js";
import { Outbox } from "./outbox.js";
import { Renewing } from "./renewing.js";
import { Signs } from "./signs.js";
import { Refused, Wire } from "./wire.js";

const PAGE = 50;
// Fewer than these fill no screen, so older ones are fetched at once.
const FULL = 25;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Chat {
  #wire;
  #heed;
  #window = 1000;
  #entering = false;
  #hello;
  #renewing;

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
    this.#renewing = new Renewing(this.#wire);
    /** What the user says. */
    this.outbox = new Outbox(this.#wire, {
      onRoom: heed.onRoom,
      onPutOut: (room) => this.#comeBack(room),
      onProblem: heed.onProblem,
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

  /**
   * Go on with another token of the same user, which `hello` says from now on.
   *
   * @param {string} token
   * @returns {Promise<string | null>} see `Renewing.renew`.
   */
  async renew(token) {
    const problem = await this.#renewing.renew(token);
    if (problem !== null) return problem;
    for (const room of this.rooms.values()) {
      this.#introduce(room);
      room.problem = null; // perhaps it opens more
    }
    this.#enterAll();
    return null;
  }

  /** @returns {boolean} whether one comes back with a token that may be no good. */
  get renewing() {
    return this.#renewing.open;
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
    room.limit = this.#window || Infinity;
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
    this.#renewing.hear(state);
  }

  #onWelcome(said) {
    if (this.me && this.me !== said.user) this.#forget(); // what one sees is not for another
    this.me = said.user;
    this.#window = said.limits.window;
    this.outbox.messageBytes = said.limits.messageBytes;
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
    } else if (said.type === "error" && said.code === "forbidden" && said.ref === undefined) {
      room.lose(); // a fresh token opens fewer rooms than the last one
      room.problem = problemOf(said);
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
      await this.#wire.insist("room:join", { room: room.id, ...resume }, () => this.rooms.get(room.id) === room);
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

  /** Enter a room that has put us out. */
  #comeBack(room) {
    room.lose();
    this.#enterAll();
  }

  /** Try a room again that could not be entered. */
  retry(room) {
    room.problem = null;
    this.#enterAll();
  }

  #onEntered(room) {
    if (room.live.size < FULL && room.more && !room.older.length) this.older(room);
    this.outbox.work(room);
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
      const page = await this.#wire.insist("history:get", asked, () => room.entered);
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
