// What the page reads from a token. Run by test_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const { claimsOf, moderates, termOf } = await import(`${process.env.PAGE}/core/token.js`);

const tokenOf = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

test("a token's claims are read as they were written", () => {
  for (const claims of [{ sub: "ada" }, { sub: "Zoë ✓ ʘ‿ʘ ???>>>" }]) assert.deepEqual(claimsOf(tokenOf(claims)), claims);
});

test("what is no token claims nothing", () => {
  for (const text of ["", "a.b.c", "a", "..", tokenOf(null), tokenOf("x")]) assert.deepEqual(claimsOf(text), {}, text);
});

test("moderators are those whose token says so", () => {
  assert.equal(moderates({ token: tokenOf({ roles: ["assistant", "moderator"] }) }), true);
  for (const claims of [{}, { roles: [] }, { roles: "moderator" }, { roles: ["admin"] }]) {
    assert.equal(moderates({ token: tokenOf(claims) }), false);
  }
  assert.equal(moderates({ user: "ada" }), false);
});

test("a token is spoken of before its end: a quarter of its life, from half a minute to five", () => {
  const warned = (claims) => termOf({ token: tokenOf(claims) }).ends / 1000 - termOf({ token: tokenOf(claims) }).warn / 1000;
  assert.equal(termOf({ token: tokenOf({ exp: 1_800_000_000.5 }) }).ends, 1_800_000_000_500);
  assert.equal(warned({ iat: 1000, exp: 1400 }), 100);
  assert.equal(warned({ iat: 1000, exp: 1010 }), 30);
  assert.equal(warned({ iat: 1000, exp: 90_000 }), 300);
  assert.equal(warned({ exp: 90_000 }), 300);
});

test("of what has no end nothing is said", () => {
  for (const identity of [{ user: "ada" }, { token: "a.b.c" }, { token: tokenOf({ exp: "soon" }) }]) {
    assert.equal(termOf(identity), null);
  }
});
