// Texts, names and times as they are shown, and how long one waits. Run by test_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const core = `${process.env.PAGE}/core`;
const { pieces } = await import(`${core}/text.js`);
const { colour, initials, listed, roomProblem, COLOURS } = await import(`${core}/names.js`);
const { ago, dayName } = await import(`${core}/when.js`);
const { delay } = await import(`${core}/backoff.js`);

const links = (text) => pieces(text).filter(({ href }) => href).map(({ href }) => href);

test("links are found, without what stands around them", () => {
  assert.deepEqual(links("see https://a.example/b?c=1#d, and (http://e.example/f_(g))."), [
    "https://a.example/b?c=1#d",
    "http://e.example/f_(g)",
  ]);
  assert.deepEqual(links("[https://a.example] <https://b.example> \"https://c.example\"…"), [
    "https://a.example",
    "https://b.example",
    "https://c.example",
  ]);
});

test("what could mislead is no link", () => {
  for (const text of ["javascript:alert(1)", "data:text/html,x", "https://", "http://[", "https://bank@evil.example", "ahttps://x"]) {
    assert.deepEqual(links(text), [], text);
  }
});

test("the pieces are the text", () => {
  for (const text of ["", "https://a.example", "a https://b.example c https://d@e f\nhttps://g.example.", "<b>&amp;"]) {
    assert.equal(pieces(text).map((one) => one.text).join(""), text);
  }
});

test("rooms are called what the server takes", () => {
  for (const good of ["a", "team-42/general", "A:b@c.d_e", "x".repeat(128)]) assert.equal(roomProblem(good), null);
  for (const bad of ["", "a b", "ä", "x".repeat(129), "<b>", "a\n"]) assert.notEqual(roomProblem(bad), null);
});

test("people have initials and a colour that stays", () => {
  assert.deepEqual(["ada", "Grace Hopper", "jean-luc picard", "李 小龙", "😀", "<b>"].map(initials), ["A", "GH", "JL", "李小", "?", "B"]);
  assert.equal(colour("ada"), colour("ada"));
  for (const name of ["ada", "", "😀", "x".repeat(128)]) assert.ok(colour(name) >= 0 && colour(name) < COLOURS);
});

test("many are listed shortly", () => {
  assert.deepEqual([[], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]].map(listed), [
    "", "a", "a and b", "a, b and c", "a, b and 2 others",
  ]);
});

test("times are told as people tell them", () => {
  const now = new Date(2026, 10, 23, 12, 0, 0);
  const before = (seconds) => new Date(now - seconds * 1000);
  assert.deepEqual([before(0), before(59), before(60), before(3599)].map((then) => ago(then, now)), ["now", "now", "1 min", "59 min"]);
  assert.match(ago(before(3600), now), /11/);
  assert.equal(ago(before(-5), now), "now", "another clock may be ahead");
  assert.equal(dayName(before(3600), now), "Today");
  assert.equal(dayName(new Date(2026, 10, 22, 23, 59), now), "Yesterday");
  assert.doesNotMatch(dayName(new Date(2026, 10, 20), now), /2026/);
  assert.match(dayName(new Date(2025, 10, 20), now), /2025/);
});

test("one waits half a second, then longer, at most ten seconds, never all at once", () => {
  assert.deepEqual([0, 1, 2, 9, 99].map((tries) => delay(tries, () => 1)), [500, 1000, 2000, 10_000, 10_000]);
  assert.deepEqual([0, 99].map((tries) => delay(tries, () => 0)), [250, 5000]);
});

test("names that are written in another direction turn nothing around them", () => {
  assert.equal(listed(["ada", "bob"]), "ada and bob");
  assert.equal(listed(["\u202egnp.exe", "דן", "zoë"]), "\u2068\u202egnp.exe\u2069, \u2068דן\u2069 and zoë");
});
