// The messages of the open room: what is in the document, and where it is scrolled to.

import { timeline } from "../core/timeline.js";
import { dayKey, dayName } from "../core/when.js";
import { rememberTexts, rememberedTexts } from "../net/identity.js";
import { arrange, element } from "./dom.js";
import { editorOf, refreshTimes, rowOf } from "./row.js";
import { Top } from "./top.js";
import { Walk } from "./walk.js";

// How many messages are put into the document at once; the rest follows when one scrolls up to it.
const SCREENS = 120;
const NEAR = 60;
const TOGETHER = 5 * 60_000;
const TOP = Symbol("the line above the oldest message");

export class Log {
  #root;
  #heed;
  #rows = new Map();
  #room = null;
  #count = SCREENS;
  /** Of each room, by its id, the message that is being edited, by its key, and how far one has got. One comes back to it. */
  #edits = new Map();
  #user = "";
  #following = true;
  #headings = new Map();
  #top = new Top(() => this.#older());
  #walk;
  #online = false;

  /**
   * @param {HTMLElement} root what scrolls.
   * @param {{onOlder: () => void, onScroll: () => void, onEdit: (id: string, content: string) => void,
   *          onDelete: (id: string) => void, onAgain: (id: string) => void, onDiscard: (id: string) => void,
   *          onDone: () => void}} heed
   */
  constructor(root, heed) {
    this.#root = root;
    this.#heed = heed;
    root.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#walk = new Walk(root, () => [...this.#rows.values()].map(({ node }) => node));
    new ResizeObserver(() => this.#following && this.#stick()).observe(root);
    addEventListener("pagehide", () => {
      if (this.#user) rememberTexts("edits", this.#user, [...this.#edits].map(([room, { key, text }]) => [room, key, text]));
    });
  }

  /** Edit as a user from now on. What they had begun is still there when the page is loaded anew. */
  begin(user) {
    if (user === this.#user) return;
    this.#user = user;
    this.#edits = new Map(rememberedTexts("edits", user).map(([room, key, text]) => [room, { key, text }]));
  }

  /** Forget what was begun. */
  end() {
    rememberTexts("edits", this.#user, null);
    this.begin("");
  }

  /** @returns {boolean} whether the newest message is in sight. */
  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#root;
    return clientHeight > 0 && scrollHeight - scrollTop - clientHeight < NEAR;
  }

  /** Scroll to the newest message, and let go of what was scrolled back to. */
  jump() {
    this.#count = SCREENS;
    this.#stick();
  }

  #stick() {
    this.#root.scrollTop = this.#root.scrollHeight;
    this.#following = true;
  }

  /** Show a room as it is now. @param {boolean} online whether there is a connection. */
  show(room, online = this.#online) {
    this.#online = online;
    if (room !== this.#room) this.#change(room);
    const entries = timeline(room);
    const shown = entries.slice(-this.#count);
    const anchor = this.#following ? null : this.#anchor();
    // Screen readers are not to read out what was said long ago.
    this.#root.setAttribute("aria-busy", String(room.paging || !room.entered));
    const held = this.#held();
    const top = this.#top.show(room, { shown: shown.length, hidden: entries.length - shown.length, online });
    arrange(this.#root, [top, ...this.#arranged(room, shown)]);
    if (this.#following) this.#stick();
    else if (anchor !== null) this.#keepInPlace(anchor);
    this.#fill(room);
    // Whoever was at something that is drawn anew is still there, or near.
    if (held !== null && document.activeElement === document.body) {
      (this.#rows.get(held)?.node ?? top.querySelector("button") ?? this.#root).focus({ preventScroll: true });
    }
  }

  /** Bring the times up to date. */
  tick() {
    refreshTimes(this.#root, new Date());
  }

  /** Edit the user's newest message. */
  editLast() {
    const last = timeline(this.#room).findLast((entry) => entry.changeable && entry.state !== "sending");
    if (last) this.#edit(last);
  }

  #change(room) {
    this.#room = room;
    this.#rows.clear();
    this.#count = SCREENS;
    this.#walk.forget();
    this.#following = true;
    this.#root.replaceChildren();
  }

  // --- what is in it

  #arranged(room, shown) {
    const now = new Date();
    const readers = room.readers();
    const rows = new Map();
    const nodes = [];
    let before = null;
    for (const entry of shown) {
      const breaks = this.#breaks(room, before, entry, now);
      const how = {
        follows: before !== null && breaks.length === 0 && follows(before, entry),
        mine: entry.userId === room.me,
        readers: (readers.get(entry.id) ?? []).filter((name) => name !== entry.userId),
        now,
      };
      const row = this.#row(entry, how);
      rows.set(entry.key, row);
      nodes.push(...breaks, row.node);
      before = entry;
    }
    this.#rows = rows;
    return nodes;
  }

  #row(entry, how) {
    const begun = this.#edits.get(this.#room.id);
    const edit = begun?.key === entry.key ? begun : null;
    const { follows: together, mine, readers } = how;
    const { rev, state, problem, content, changeable, removable } = entry;
    const version = JSON.stringify([rev, state, problem, content, changeable, removable, together, mine, readers]);
    const known = this.#rows.get(entry.key);
    if (known && known.edit === edit && (edit || known.version === version)) return known;
    const node = edit ? this.#editor(entry, edit) : this.#message(entry, how);
    this.#walk.replace(known?.node, node);
    return { node, version, edit };
  }

  #message(entry, how) {
    return rowOf(entry, how, {
      onEdit: () => this.#edit(entry),
      onDelete: () => this.#heed.onDelete(entry.id),
      onAgain: () => this.#heed.onAgain(entry.id),
      onDiscard: () => this.#heed.onDiscard(entry.id),
    });
  }

  /** @param {{key: string, text: string}} edit what the user has made of the message so far. */
  #editor(entry, edit) {
    const room = this.#room.id;
    return editorOf(edit.text, {
      onText: (text) => (edit.text = text),
      onSave: (content) => {
        this.#edits.delete(room);
        if (content !== entry.content) this.#heed.onEdit(entry.id, content);
        this.#heed.onDone();
      },
      onCancel: () => {
        this.#edits.delete(room);
        this.#heed.onDone();
      },
    });
  }

  #edit(entry) {
    const begun = this.#edits.get(this.#room.id)?.key === entry.key;
    if (!begun) this.#edits.set(this.#room.id, { key: entry.key, text: entry.content });
    this.show(this.#room);
    const field = this.#rows.get(entry.key)?.node.querySelector("textarea");
    field?.focus();
    field?.setSelectionRange(field.value.length, field.value.length);
    field?.scrollIntoView({ block: "nearest" });
  }

  /** Headings between messages: a new day, and where the unread ones begin. */
  #breaks(room, before, entry, now) {
    const found = [];
    const then = new Date(entry.timestamp);
    if (before === null || dayKey(new Date(before.timestamp)) !== dayKey(then)) {
      found.push(this.#heading(`day/${dayKey(then)}`, "day", dayName(then, now)));
    }
    if (isNew(room, entry) && !(before && isNew(room, before))) found.push(this.#heading("new", "day new", "New"));
    return found;
  }

  #heading(key, classes, text) {
    const known = this.#headings.get(key);
    if (known?.firstChild.textContent === text) return known;
    const node = element("p", { class: classes }, element("span", { text }));
    this.#headings.set(key, node);
    return node;
  }

  /** @returns the message that has the focus, or `TOP`; null if nothing in here has it. */
  #held() {
    if (this.#top.node?.contains(document.activeElement)) return TOP;
    for (const [key, { node }] of this.#rows) if (node.contains(document.activeElement)) return key;
    return null;
  }

  // --- scrolling

  /** @returns the first message in sight, and where its end is: its beginning may change with what is above it. */
  #anchor() {
    const top = this.#root.getBoundingClientRect().top;
    for (const [key, { node }] of this.#rows) {
      const at = node.getBoundingClientRect().bottom;
      if (at > top) return { key, at };
    }
    return null;
  }

  #keepInPlace({ key, at }) {
    const node = this.#rows.get(key)?.node;
    if (node) this.#root.scrollTop += node.getBoundingClientRect().bottom - at;
  }

  #scrolled() {
    this.#following = this.atEnd;
    if (this.#root.scrollTop < 200) this.#older();
    this.#heed.onScroll();
  }

  #older() {
    if (this.#room === null) return;
    if (timeline(this.#room).length > this.#count) {
      this.#count += SCREENS;
      this.show(this.#room);
    } else if (this.#room.more) {
      this.#count += SCREENS;
      this.#heed.onOlder();
    }
  }

  /** What does not fill the screen cannot be scrolled. */
  #fill(room) {
    const { scrollHeight, clientHeight } = this.#root;
    if (clientHeight > 0 && scrollHeight <= clientHeight && room.more && room.entered && !room.paging) this.#older();
  }
}

/** Whether somebody had said it, unread, when the user came to the room. */
function isNew(room, entry) {
  return room.seenAtOpening !== null && entry.epoch === room.position?.epoch && entry.seq > room.seenAtOpening;
}

function follows(before, entry) {
  const apart = new Date(entry.timestamp) - new Date(before.timestamp);
  return before.userId === entry.userId && before.role === entry.role && apart < TOGETHER;
}
