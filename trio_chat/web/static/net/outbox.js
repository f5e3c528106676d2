// What the user has asked for and nobody has acknowledged yet, room by room.
//
// 1. A room's outbox is carried out in order, one job at a time, always under the same id: what was not acknowledged is
//    sent again after coming back, and the server knows that it is the same.
// 2. A temporary error is tried again; any other one is shown to the user, who decides.

import { problemOf } from "../core/advice.js";
import { Lost, Refused } from "./wire.js";

const encoder = new TextEncoder();

export class Outbox {
  #wire;
  #heed;
  #busy = new Set();

  /**
   * @param {Wire} wire
   * @param {{onRoom: (room: Room) => void, onPutOut: (room: Room) => void, onProblem: (text: string) => void}} heed
   */
  constructor(wire, heed) {
    this.#wire = wire;
    this.#heed = heed;
    /** The largest message the server takes; 0 for any. */
    this.messageBytes = 0;
  }

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
    this.work(room);
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
    if (this.messageBytes && sizeOf(room, job) > this.messageBytes) {
      job.problem = `This is too long: the server takes ${this.messageBytes.toLocaleString()} bytes.`;
    }
    this.#heed.onRoom(room);
    this.work(room);
  }

  /** Carry out a room's outbox, until it is empty or the connection ends. There is one at a time. */
  async work(room) {
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
    if (room.entered && next(room)) this.work(room);
  }

  /** The session ended while we were away: a message of ours may be in the one before, where its id is not looked for. */
  async #lookForSent(room) {
    const page = await this.#wire.insist("history:get", { room: room.id, limit: 200 }, () => room.entered);
    room.settleFound(page.messages);
  }

  async #carryOut(room, job) {
    job.tried = true;
    try {
      await this.#wire.insist(`message:${job.kind}`, wireOf(room, job), () => room.outbox.includes(job));
      room.drop(job);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "not_joined") {
        // It goes on when the room has been entered again.
        this.#heed.onPutOut(room);
        throw new Lost("no longer in the room");
      }
      this.#giveUp(room, job, error);
    }
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
