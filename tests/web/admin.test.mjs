// What the dashboard makes of the server's snapshots. Run by test_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const admin = `${process.env.PAGE}/admin`;
const { count, counted, lasting, percent, rate, took } = await import(`${admin}/figures.js`);
const { fill, Past, quantile, SPAN } = await import(`${admin}/past.js`);

function snapshot(uptimeSeconds, fields = {}) {
  return {
    uptimeSeconds,
    events: 0,
    deliveries: 0,
    connections: { native: 1, socketio: 2, polling: 3 },
    unsynced: 0,
    messages: 0,
    window: 1000,
    rooms: 0,
    redis: { healthy: true, latency: { bounds: [0.001, 0.01], counts: [0, 0, 0] } },
    archive: { healthy: true, latency: null },
    active: [],
    ...fields,
  };
}

function filled(...snapshots) {
  const past = new Past();
  for (const one of snapshots) past.add(one, one.uptimeSeconds * 1000);
  return past;
}

test("two counts make a rate, by the clock of the server", () => {
  const past = filled(snapshot(10, { events: 5 }), snapshot(12, { events: 25 }));
  assert.equal(past.rate("events"), 10);
  assert.deepEqual(past.points.map((point) => point.in), [null, 10]);
  assert.equal(past.points[0].connections, 6);
});

test("a rate is that of the last ten seconds", () => {
  const past = filled(...[0, 2, 4, 6, 8, 10, 12].map((at) => snapshot(at, { events: at < 4 ? 0 : 100 })));
  assert.equal(past.rate("events"), 10);
});

test("nothing is subtracted from what a server counted before its restart", () => {
  const past = filled(snapshot(100, { events: 500 }), snapshot(1, { events: 3 }), snapshot(3, { events: 7 }));
  assert.deepEqual(past.points.map((point) => point.in), [null, null, 2]);
});

test("five minutes are kept", () => {
  const past = new Past();
  for (let at = 0; at <= 2 * SPAN; at += 2000) past.add(snapshot(at / 1000), at);
  assert.equal(past.points.length, SPAN / 2000 + 1);
});

test("latencies are those of the last minute", () => {
  const at = (uptime, ...counts) =>
    snapshot(uptime, { redis: { healthy: true, latency: { bounds: [0.001, 0.01], counts } } });
  const past = filled(at(0, 0, 900, 0), at(30, 0, 900, 0), at(60, 0, 900, 0), at(90, 100, 900, 0));
  assert.equal(past.latency("redis").p50, 0.0005);
  assert.deepEqual(past.latency("archive"), { p50: null, p99: null });
});

test("a quantile lies within its bucket, and above all bounds it is the last of them", () => {
  assert.equal(quantile([1, 2], [0, 10, 0], 0.5), 1.5);
  assert.equal(quantile([1, 2], [0, 0, 10], 0.99), 2);
  assert.equal(quantile([1, 2], [0, 0, 0], 0.5), null);
});

test("a room has a rate once it was seen twice, and a new session begins at nothing", () => {
  const room = (top, epoch = "e") => ({ room: "r", top, epoch, idleSeconds: 0 });
  assert.equal(filled(snapshot(0, { active: [room(4)] })).roomRate(room(4)), null);
  const seen = [snapshot(0), snapshot(2, { active: [room(100)] }), snapshot(4, { active: [room(104)] })];
  assert.equal(filled(...seen).roomRate(room(104)), 2);
  assert.equal(filled(...seen, snapshot(6, { active: [room(8, "f")] })).roomRate(room(8, "f")), 2);
});

test("windows are filled by messages, if they have a limit and there are rooms", () => {
  assert.equal(fill({ messages: 500, window: 1000, rooms: 2 }), 0.25);
  assert.equal(fill({ messages: 500, window: 0, rooms: 2 }), null);
  assert.equal(fill({ messages: 0, window: 1000, rooms: 0 }), null);
});

test("figures are short and have units", () => {
  assert.equal(count(null), "–");
  assert.equal(rate(0), "0");
  assert.match(rate(0.26), /^0.3$/);
  assert.equal(rate(25.4), "25");
  assert.deepEqual([0, 0.004, 0.999, 1].map(percent), ["0 %", "<1 %", "99 %", "100 %"]);
  assert.deepEqual([0.02, 3].map(took), ["20 ms", "3.0 s"]);
  assert.deepEqual([59, 60, 7300, 200_000].map(lasting), ["59 s", "1 min", "2 h 1 min", "2 days"]);
  assert.deepEqual([counted(1, "room"), counted(2, "room")], ["1 room", "2 rooms"]);
});
