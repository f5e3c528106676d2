// How the connection of the page judges silence. Run by test_modules.py; a browser's parts are played here.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

const { Wire } = await import(`${process.env.PAGE}/net/wire.js`);

mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
let now = 0;
performance.now = () => now;
globalThis.addEventListener = () => {};
globalThis.document = { addEventListener() {}, hidden: false };

function pass(seconds) {
  for (let step = 0; step < seconds; step += 1) {
    now += 1000;
    mock.timers.tick(1000);
  }
}

/** A server that is reached over a line so slow that nothing but `welcome` comes through. */
class SlowSocket {
  static opened = [];

  constructor() {
    this.opened = now;
    SlowSocket.opened.push(this);
    setTimeout(() => {
      this.onopen?.();
      this.hear({ type: "welcome" });
    }, 10);
  }

  hear(said) {
    this.onmessage?.({ data: JSON.stringify(said) });
  }

  send() {}
  close() {}
}
globalThis.WebSocket = SlowSocket;

const heed = { onState() {}, onWelcome() {}, onSaid() {} };
const lives = () => SlowSocket.opened.slice(1).map((one, index) => (one.opened - SlowSocket.opened[index].opened) / 1000);

test("a connection without a sign of life is given up, each time later, since a large message may be on its way", () => {
  const wire = new Wire("ws://test/ws", () => ({}), heed);
  wire.restart();
  pass(1200);
  const [first, second, third] = lives();

  assert.ok(first < 50, first);
  assert.ok(second > 60, second);
  assert.ok(third > 180, third);

  // Once it answers as it should, it is judged as at first.
  SlowSocket.opened.at(-1).hear({ type: "heartbeat" });
  pass(31);
  SlowSocket.opened.at(-1).hear({ type: "heartbeat" });
  const before = SlowSocket.opened.length;
  pass(50);
  assert.equal(SlowSocket.opened.length, before + 1);
  wire.stop();
});
