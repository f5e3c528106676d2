// What the page reads from a token. Run by test_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const { claimsOf, moderates } = await import(`${process.env.PAGE}/core/token.js`);

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
