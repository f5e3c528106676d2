// One room as this client knows it. Pure: no socket, no clock, no document; `hear` takes what the server says.
//
// 1. `live` is the window, kept by the rules of docs/protocol.md ("Positions and resuming"). `older` stands above it.
// 2. `outbox` is what this user has asked for and nobody has acknowledged. It is shown as if it had happened.
// 3. An entry is a message with its epoch, and `kept`: the step of the ladder it is known to have reached.
//    "archive" is only said of what came from the archive, or whose session has ended, which archives it first.

import { Company } from "./company.js";
import { Older, positionOf } from "./older.js";

/** @typedef {{epoch: string, seq: number}} Position */
/** @typedef {{kind: "send" | "edit" | "delete", id: string, content: string, at: string, tried: boolean,
 *             problem: string | null}} Job */

export class Room {
  #older = new Older();
  #company = new Company();

  /** @param {string} id @param {number} limit of the window, as the server's welcome names it. */
  constructor(id, limit = 1000) {
    this.id = id;
    this.limit = limit;
    /** @type {string} who this client is in the room. */
    this.me = "";
    /** Whether this client may delete what others have said. */
    this.moderates = false;
    /** @type {Position | null} what to resume from. */
    this.position = null;
    this.durability = "redis";
    /** Whether the room can be talked to at the moment. */
    this.entered = false;
    /** @type {string | null} why it cannot be entered, for a person. */
    this.problem = null;
    this.live = new Map();
    this.paging = false;
    /** @type {Job[]} */
    this.outbox = [];
    /** Whether something of the outbox may have been carried out in a session that is over. */
    this.uncertain = false;
    /** Up to which seq of this session the user has read. */
    this.seen = 0;
    /** The seq above which messages were new when the user came to the room. */
    this.seenAtOpening = null;
    this.first = 0;
  }

  get older() {
    return this.#older.entries;
  }

  /** Whether there may be older messages. */
  get more() {
    return this.#older.more;
  }

  get people() {
    return this.#company.people;
  }

  get typing() {
    return this.#company.typing;
  }

  /**
   * Take in what the server says.
   *
   * @returns {object | null} the entry, if somebody else has just posted it.
   */
  hear(said) {
    switch (said.type) {
      case "room:joined":
        this.first = said.first;
        this.durability = said.durability;
        this.problem = null;
        this.typing.clear();
        return null;
      case "messages:history":
        this.#replace(said);
        return null;
      case "room:live":
        this.#dropBelow(said);
        return null;
      case "message:new":
      case "message:update":
        return this.#put(said);
      case "message:delete":
        this.#remove(said);
        return null;
      case "session:expired":
        this.#retire("archive");
        this.position = null; // should that session come back after all, this window knows nothing of it
        return null;
      case "ack":
        this.#acknowledge(said);
        return null;
      default:
        this.#hearPeople(said);
        return null;
    }
  }

  #hearPeople(said) {
    this.#company.hear(said);
    if (said.type === "receipt:list") this.#rememberSeen();
    else if (said.type === "presence:list") this.entered = true;
    else if (said.type === "receipt:update" && said.userId === this.me) this.#seeUpTo(said.lastReadMessageId);
  }

  /** Know that the connection is gone. */
  lose() {
    this.entered = false;
    this.typing.clear();
  }

  // --- the window

  #replace(said) {
    if (this.position && this.position.epoch !== said.epoch) {
      this.uncertain = this.outbox.some((job) => job.tried);
      this.seen = 0;
      this.seenAtOpening = null;
    }
    this.#older.forget();
    const kept = this.#step();
    this.live = new Map(said.messages.map((message) => [message.id, { ...message, epoch: said.epoch, kept }]));
    this.#move(said);
  }

  #put(said) {
    this.#meet(said.epoch);
    const known = this.live.get(said.message.id);
    const entry = { ...said.message, epoch: said.epoch, kept: known?.kept ?? this.#step() };
    this.live.set(entry.id, entry);
    this.#move(said);
    if (said.type === "message:new") this.typing.delete(entry.userId);
    if (entry.userId !== this.me) return said.type === "message:new" && !known ? entry : null;
    this.#settle((job) => job.kind === "send" && job.id === entry.id);
    // Who has written something has read what stands above it.
    if (said.type === "message:new") this.seen = Math.max(this.seen, entry.seq);
    return null;
  }

  #remove(said) {
    this.#meet(said.epoch);
    this.live.delete(said.id);
    this.#move(said);
  }

  /** A new session has begun, and the end of the last one was not heard. */
  #meet(epoch) {
    if (this.position && this.position.epoch !== epoch) this.#retire("redis");
  }

  #dropBelow(said) {
    const gone = [...this.live.values()].filter((entry) => entry.seq < this.first);
    for (const entry of gone) this.live.delete(entry.id);
    // Of what has left the window meanwhile nobody was told how it reads now; it is read back when it is wanted.
    if (gone.length) this.#older.forget();
    this.#move(said);
    for (const entry of this.live.values()) if (entry.kept === "memory") entry.kept = this.#step();
  }

  #move(said) {
    this.position = { epoch: said.epoch, seq: said.seq };
    if (this.live.size <= this.limit) return;
    for (const entry of this.window().slice(0, -this.limit)) {
      this.live.delete(entry.id);
      this.#older.follow(entry);
    }
    this.#older.bound();
  }

  /** Make the window part of what is older: its session is over. */
  #retire(kept) {
    const over = this.window().map((entry) => ({ ...entry, kept: entry.kept === "memory" ? "memory" : kept }));
    this.#older.retire(over);
    this.live.clear();
    this.seen = 0;
    this.seenAtOpening = null;
    this.#older.bound();
  }

  #step() {
    return this.durability === "memory" ? "memory" : "redis";
  }

  #seqOf(id) {
    return this.live.get(id)?.seq;
  }

  /** @returns {object[]} the window, oldest first. */
  window() {
    return [...this.live.values()].sort((a, b) => a.seq - b.seq);
  }

  // --- older messages

  /** @returns {Position | null} what to ask the next page with; null for the newest messages. */
  pageBefore() {
    if (this.older.length || this.#older.before) return this.#older.before;
    const oldest = this.window()[0];
    return oldest ? positionOf(oldest) : null;
  }

  /** Take in a page that was asked for with `pageBefore`. */
  addPage(said) {
    this.#older.addPage(said, this.live.values());
  }

  // --- what this user does

  /** Ask for something; it is shown at once. @param {Job} job */
  ask(job) {
    this.outbox.push(job);
  }

  /** Know that jobs are done, or given up. */
  #settle(done) {
    this.outbox = this.outbox.filter((job) => !done(job));
  }

  /** @param {Job} job */
  drop(job) {
    this.#settle((one) => one === job);
  }

  /** Take those messages out of the outbox that a page of history shows to have arrived. */
  settleFound(messages) {
    const mine = new Set(messages.filter((one) => one.userId === this.me).map((one) => one.id));
    this.#settle((job) => job.kind === "send" && mine.has(job.id));
    this.uncertain = false;
  }

  #acknowledge(said) {
    if (said.epoch === undefined) return; // it was no change
    const step = said.durability === "replicated" ? "redis" : said.durability;
    this.durability = step === "memory" ? "memory" : "redis";
    const entry = this.live.get(said.id);
    // A message comes before its ack, and was taken to be as safe as the one before it.
    if (entry && step !== "redis") entry.kept = step;
    if (step !== "redis" || said.epoch !== this.position?.epoch) return;
    // What came before it in the session was written before it.
    for (const one of this.live.values()) {
      if (one.kept === "memory" && one.seq <= said.seq) one.kept = "redis";
    }
  }

  // --- what has been read

  #rememberSeen() {
    // Who is here for the first time has missed nothing.
    if (this.#mark === undefined) this.seen = Math.max(this.seen, this.position?.seq ?? 0);
    else this.#seeUpTo(this.#mark);
  }

  #seeUpTo(id) {
    this.seen = Math.max(this.seen, this.#seqOf(id) ?? 0);
  }

  /** @returns {number} how many messages of others the user has not read. */
  unread() {
    let count = 0;
    for (const one of this.live.values()) if (one.seq > this.seen && one.userId !== this.me) count += 1;
    return count;
  }

  /** Note that the user sees the newest message. @returns {string | null} its id, if that is news to the server. */
  see() {
    const newest = this.window().at(-1);
    if (!newest || newest.seq <= this.seen) return null;
    this.seen = newest.seq;
    return this.#mark === newest.id ? null : newest.id;
  }

  /** @returns {Map<string, string[]>} who has read up to which message, by message id. The user is left out. */
  readers() {
    return this.#company.readers(this.me);
  }

  get #mark() {
    return this.#company.receipts.get(this.me)?.lastReadMessageId;
  }
}
