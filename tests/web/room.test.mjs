// What a room is to a client of the native wire: the rules of docs/protocol.md, and what is made of them for people.
// Run by test_modules.py; PAGE names the folder of the modules.

import assert from "node:assert/strict";
import { test } from "node:test";

const { Room } = await import(`${process.env.PAGE}/core/room.js`);
const { timeline } = await import(`${process.env.PAGE}/core/timeline.js`);

const EPOCH = "01a2040e-2752-7451-8379-c1deda24b42e";
const LATER = "01a2050e-2752-7451-8379-c1deda24b42e";

function message(seq, { user = "bob", id = `m-${seq}`, rev = seq, content = `text ${seq}` } = {}) {
  return { id, role: "user", content, timestamp: "2026-11-22T16:19:26.163717Z", metadata: {}, userId: user, seq, rev };
}
const posted = (seq, how = {}) => ({ type: "message:new", epoch: how.epoch ?? EPOCH, seq, message: message(seq, how) });
const edited = (seq, of, content) => ({
  type: "message:update", epoch: EPOCH, seq, message: message(of, { rev: seq, content }),
});
const deleted = (seq, id) => ({ type: "message:delete", epoch: EPOCH, seq, id });
const joined = (fields = {}) => ({
  type: "room:joined", epoch: EPOCH, seq: 0, first: 1, recovered: false, durability: "redis", members: [], ...fields,
});
const history = (messages, seq, epoch = EPOCH) => ({ type: "messages:history", epoch, seq, messages });
const job = (kind, id, fields = {}) => ({ kind, id, content: "mine", at: "2026-11-22T16:20:00Z", tried: true, problem: null, ...fields });

function entered({ messages = [], limit = 1000, receipts = {}, seq = messages.at(-1)?.seq ?? 0 } = {}) {
  const room = new Room("room", limit);
  room.me = "ada";
  for (const said of [
    joined({ seq }),
    history(messages, seq),
    { type: "receipt:list", receipts },
    { type: "presence:list", members: [{ userId: "ada", isActive: true, lastActiveAt: "2026-11-22T16:19:26Z" }] },
  ]) {
    room.hear(said);
  }
  return room;
}
const contents = (room) => timeline(room).map((entry) => entry.content);
const states = (room) => timeline(room).map((entry) => entry.state);

test("the position is that of the newest change, not that of the answer to joining", () => {
  const room = new Room("room");
  room.hear(joined({ seq: 7 }));
  assert.equal(room.position, null);
  room.hear(history([message(7)], 7));
  assert.deepEqual(room.position, { epoch: EPOCH, seq: 7 });
  room.hear(posted(8));
  assert.deepEqual(room.position, { epoch: EPOCH, seq: 8 });
});

test("messages are in the order of their seq, as they read now", () => {
  const room = entered({ messages: [message(1), message(3)] });
  room.hear(edited(4, 1, "changed"));
  room.hear(edited(5, 2, "was missed"));
  room.hear(deleted(6, "m-3"));
  room.hear(deleted(7, "never heard of"));
  assert.deepEqual(contents(room), ["changed", "was missed"]);
});

test("the window pushes out the oldest, which stays in sight if one has scrolled back", () => {
  const room = entered({ messages: [message(1), message(2)], limit: 2 });
  room.hear(posted(3));
  assert.deepEqual(contents(room), ["text 2", "text 3"]);
  room.addPage({ messages: [{ ...message(1), epoch: EPOCH }], more: false, before: null, source: "window" });
  room.hear(posted(4));
  assert.deepEqual(contents(room), ["text 1", "text 2", "text 3", "text 4"]);
});

test("what the server says is gone when one comes back is gone", () => {
  const room = entered({ messages: [message(1), message(2), message(3)] });
  room.hear(joined({ first: 3, recovered: true, seq: 4 }));
  room.hear(posted(4));
  room.hear({ type: "room:live", epoch: EPOCH, seq: 4 });
  assert.deepEqual(contents(room), ["text 3", "text 4"]);
  assert.deepEqual(room.pageBefore(), { epoch: EPOCH, seq: 3 });
});

test("a session that ends leaves its messages in sight, archived and unchangeable", () => {
  const room = entered({ messages: [message(1, { user: "ada" })] });
  room.hear({ type: "session:expired", epoch: EPOCH });
  room.hear(posted(1, { epoch: LATER, user: "ada", id: "other" }));
  assert.deepEqual(states(room), ["archived", "stored"]);
  assert.deepEqual(timeline(room).map((entry) => entry.changeable), [false, true]);
  assert.deepEqual(room.pageBefore(), { epoch: EPOCH, seq: 1 });
});

test("a new session whose predecessor's end was not heard is a new session", () => {
  const room = entered({ messages: [message(1)] });
  room.hear(posted(1, { epoch: LATER }));
  assert.deepEqual(contents(room), ["text 1", "text 1"]);
  assert.equal(new Set(timeline(room).map((entry) => entry.key)).size, 2);
});

test("pages of the past are put before what is known, nothing twice", () => {
  const room = entered({ messages: [message(3), message(4)] });
  assert.deepEqual(room.pageBefore(), { epoch: EPOCH, seq: 3 });
  const page = (seqs, source, before) => ({
    messages: seqs.map((seq) => ({ ...message(seq), epoch: EPOCH })), source, more: before !== null, before,
  });
  room.addPage(page([2, 3], "window", { epoch: EPOCH, seq: 2 }));
  assert.deepEqual(room.pageBefore(), { epoch: EPOCH, seq: 2 });
  room.addPage(page([1], "archive", null));
  assert.deepEqual(contents(room), ["text 1", "text 2", "text 3", "text 4"]);
  assert.deepEqual(states(room), ["archived", "stored", "stored", "stored"]);
  assert.equal(room.more, false);
});

test("what was asked for is shown as if it had happened", () => {
  const room = entered({ messages: [message(1, { user: "ada" }), message(2, { user: "ada" })] });
  room.ask(job("edit", "m-1", { content: "better" }));
  room.ask(job("delete", "m-2"));
  room.ask(job("send", "new"));
  assert.deepEqual(contents(room), ["better", "mine"]);
  assert.deepEqual(states(room), ["sending", "sending"]);
});

test("a message of one's own is there once, whichever comes first: itself or its ack", () => {
  const room = entered();
  const send = job("send", "m-1");
  room.ask(send);
  room.hear(posted(1, { user: "ada" }));
  room.hear({ type: "ack", id: "m-1", epoch: EPOCH, seq: 1, durability: "redis", duplicate: false });
  room.drop(send);
  assert.deepEqual(states(room), ["stored"]);
  assert.equal(timeline(room)[0].key, "m-1");
});

test("what is in memory only says so, until something after it is stored", () => {
  const room = entered();
  room.hear({ type: "ack", id: "x", epoch: EPOCH, seq: 0, durability: "memory", duplicate: false });
  room.hear(posted(1, { user: "ada" }));
  assert.deepEqual(states(room), ["memory"]);
  room.hear(posted(2, { user: "ada" }));
  room.hear({ type: "ack", id: "m-2", epoch: EPOCH, seq: 2, durability: "redis", duplicate: false });
  assert.deepEqual(states(room), ["stored", "stored"]);
});

test("the first that is in memory only says so, though it comes before its ack", () => {
  const room = entered();
  room.hear(posted(1, { user: "ada" }));
  room.hear({ type: "ack", id: "m-1", epoch: EPOCH, seq: 1, durability: "memory", duplicate: false });
  assert.deepEqual(states(room), ["memory"]);
  assert.equal(room.durability, "memory");
});

test("what a replica has is stored, and so is what came before it", () => {
  const room = entered();
  room.hear(posted(1, { user: "ada" }));
  room.hear({ type: "ack", id: "m-1", epoch: EPOCH, seq: 1, durability: "memory", duplicate: false });
  room.hear(posted(2, { user: "ada" }));
  room.hear({ type: "ack", id: "m-2", epoch: EPOCH, seq: 2, durability: "replicated", duplicate: false });
  assert.deepEqual(states(room), ["stored", "stored"]);
});

test("after a new session what was sent may have arrived in the old one, so it is looked for", () => {
  const room = entered({ messages: [message(1)] });
  room.ask(job("send", "maybe"));
  room.ask(job("send", "untried", { tried: false }));
  room.hear(joined({ epoch: LATER }));
  room.hear(history([], 0, LATER));
  assert.equal(room.uncertain, true);
  room.settleFound([message(9, { id: "maybe", user: "ada" }), message(10, { id: "untried", user: "eve" })]);
  assert.deepEqual(room.outbox.map((one) => one.id), ["untried"]);
});

test("unread is what others have said since one looked", () => {
  const room = entered({ messages: [message(1), message(2)] });
  assert.equal(room.unread(), 0, "who is new has missed nothing");
  room.hear(posted(3));
  room.hear(posted(4));
  assert.equal(room.unread(), 2);
  assert.equal(room.see(), "m-4");
  assert.equal(room.see(), null);
  room.hear(posted(5));
  room.hear(posted(6, { user: "ada" }));
  assert.equal(room.unread(), 0, "who writes has read");
});

test("unread is counted from the mark that the server knows", () => {
  const mark = { lastReadMessageId: "m-1", timestamp: "2026-11-22T16:19:26Z" };
  assert.equal(entered({ messages: [message(1), message(2), message(3)], receipts: { ada: mark } }).unread(), 2);
  const gone = { ada: { ...mark, lastReadMessageId: "long ago" } };
  assert.equal(entered({ messages: [message(1), message(2)], receipts: gone }).unread(), 2);
});

test("who is here, who writes and who has read what is known", () => {
  const room = entered({ messages: [message(1)] });
  const presence = (isActive) => ({ type: "presence:update", userId: "bob", isActive, lastActiveAt: "2026-11-22T16:19:26Z" });
  room.hear(presence(true));
  room.hear({ type: "typing:start", userId: "bob" });
  room.hear({ type: "receipt:update", userId: "bob", lastReadMessageId: "m-1", timestamp: "2026-11-22T16:19:26Z" });
  assert.deepEqual([...room.people.keys()], ["ada", "bob"]);
  assert.deepEqual([...room.typing], ["bob"]);
  assert.deepEqual(room.readers().get("m-1"), ["bob"]);
  room.hear(posted(2));
  assert.deepEqual([...room.typing], [], "who has posted has stopped writing");
  room.hear({ type: "typing:start", userId: "bob" });
  room.hear(presence(false));
  assert.deepEqual([[...room.people.keys()], [...room.typing]], [["ada"], []]);
});

test("moderators may delete what others have said in the window, and edit what is theirs", () => {
  const room = entered({ messages: [message(1), message(2, { user: "ada" })] });
  const may = (what) => timeline(room).map((entry) => entry[what]);
  assert.deepEqual(may("removable"), [false, true]);
  room.moderates = true;
  assert.deepEqual(may("removable"), [true, true]);
  assert.deepEqual(may("changeable"), [false, true]);
  room.hear({ type: "session:expired", epoch: EPOCH });
  assert.deepEqual(may("removable"), [false, false]);
});
