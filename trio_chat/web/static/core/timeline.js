// A room as it is shown: every message that is known, and the user's wishes as if they had been carried out.

import { keyOf } from "./older.js";

const STATES = { memory: "memory", redis: "stored", archive: "archived" };
const FIXED = { changeable: false, removable: false };

/**
 * @param {Room} room
 * @returns {object[]} every entry, oldest first. `key` is its own as long as it is shown, `changeable` whether the user
 *     may edit it, `removable` whether they may delete it, `state` is "sending", "failed", "memory", "stored" or "archived".
 */
export function timeline(room) {
  const edits = new Map();
  const deleted = new Set();
  const sends = [];
  for (const job of room.outbox) {
    if (job.kind === "send") sends.push(pending(room, job));
    else if (job.kind === "delete") deleted.add(job.id);
    else edits.set(job.id, job);
  }
  const window = room.window().filter((entry) => !deleted.has(entry.id));
  return [
    ...room.older.map((entry) => ({ ...entry, key: keyOf(entry), state: STATES[entry.kept], ...FIXED })),
    ...window.map((entry) => live(room, entry, edits.get(entry.id))),
    ...sends,
  ];
}

function live(room, entry, edit) {
  const changeable = entry.userId === room.me;
  const shown = { ...entry, key: entry.id, state: STATES[entry.kept], changeable, removable: changeable || room.moderates };
  return edit ? { ...shown, content: edit.content, state: "sending" } : shown;
}

function pending(room, job) {
  return {
    id: job.id,
    // That of the message it will be, so that it stays where it is when it becomes one.
    key: job.id,
    role: "user",
    userId: room.me,
    content: job.content,
    timestamp: job.at,
    state: job.problem === null ? "sending" : "failed",
    problem: job.problem,
    ...FIXED,
  };
}
