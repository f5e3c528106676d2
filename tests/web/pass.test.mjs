// How one goes on with another token, whatever becomes of the connection. Run by test_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const { Pass } = await import(`${process.env.PAGE}/net/pass.js`);
const { Renewing } = await import(`${process.env.PAGE}/net/renewing.js`);
const { Lost, Refused } = await import(`${process.env.PAGE}/net/wire.js`);

const tokenOf = (sub, life) => {
  const now = Date.now() / 1000;
  return `e30.${Buffer.from(JSON.stringify({ sub, iat: now - 900, exp: now + life })).toString("base64url")}.c2ln`;
};
const EXPIRED = { name: "refused", code: 4401, reason: "" };
const UNAUTHORIZED = { name: "refused", code: 4501, reason: "" };

/** Somebody who is in with a token, on a wire that answers `token:refresh` as it is told to. */
function somebody(token, answer) {
  const pass = new Pass(false);
  const wire = { restarts: [], insist: answer, restart: () => wire.restarts.push(pass.identity.token) };
  const renewing = new Renewing(wire);
  const chat = {
    me: "ada",
    state: { name: "online" },
    renew: (fresh) => renewing.renew(fresh),
    restart: () => wire.restart(),
    get renewing() {
      return renewing.open;
    },
  };
  const enter = (state) => {
    chat.state = state;
    pass.hear(state);
    const lapsed = pass.lapsed(state);
    renewing.hear(state);
    return lapsed;
  };
  pass.chat = chat;
  pass.hold({ token });
  return { pass, wire, enter };
}

const lost = () => Promise.reject(new Lost("gone"));
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a token that the server takes is the one to come back with", async () => {
  const { pass, wire } = somebody(tokenOf("ada", 60), () => Promise.resolve({}));
  const fresh = tokenOf("ada", 3600);

  assert.equal(await pass.renew(fresh), null);
  assert.equal(pass.identity.token, fresh);
  assert.deepEqual(wire.restarts, []);
});

test("a token that is no good changes nothing", async () => {
  const refuse = () => Promise.reject(new Refused({ code: "unauthorized", message: "no", temporary: false }));
  const old = tokenOf("ada", 60);
  const { pass, wire } = somebody(old, refuse);

  assert.match(await pass.renew(tokenOf("ada", 3600)), /does not accept/);
  assert.match(await pass.renew(tokenOf("bob", 3600)), /no token for ada/);
  assert.equal(pass.identity.token, old);
  assert.deepEqual(wire.restarts, []);
});

test("when the connection is lost over it, it is the next one's; if it is no good, the old one is taken up again", async () => {
  const [old, bad] = [tokenOf("ada", 60), tokenOf("ada", 3600)];
  const { pass, wire, enter } = somebody(old, lost);
  const said = pass.renew(bad);
  await settled();
  assert.equal(enter({ name: "waiting", tries: 1 }), false);
  assert.equal(enter(UNAUTHORIZED), true);

  assert.match(await said, /does not accept/);
  assert.deepEqual(wire.restarts, [bad, old]);
  assert.equal(enter(UNAUTHORIZED), false); // nothing is being tried now: access was withdrawn
});

test("a token is over when the server says so, whatever the clock does, and stays so", async () => {
  const [old, fresh] = [tokenOf("ada", 3600), tokenOf("ada", 7200)];
  const { pass, wire, enter } = somebody(old, lost);
  assert.equal(enter(EXPIRED), true);
  const said = pass.renew(tokenOf("ada", 7000));
  await settled();
  enter(UNAUTHORIZED);
  await said;
  assert.equal(wire.restarts.length, 1);
  assert.equal(enter(UNAUTHORIZED), true);

  const again = pass.renew(fresh);
  await settled();
  enter({ name: "online" });
  assert.equal(await again, null);
  assert.equal(pass.identity.token, fresh);
  assert.deepEqual(pass.remarkOn({ name: "online" }), {});
});

test("who signs out meanwhile has signed out", async () => {
  const { pass, enter } = somebody(tokenOf("ada", 60), lost);
  const said = pass.renew(tokenOf("ada", 3600));
  await settled();
  pass.hold(null);
  enter({ name: "idle" });

  assert.match(await said, /signed out/);
  assert.equal(pass.identity, null);
});
