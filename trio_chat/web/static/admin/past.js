// The last five minutes of the server, made of its snapshots. Pure: no clock, no document.
//
// 1. A snapshot's counters only rise, so two of them make a rate, over the time between them by the server's clock.
// 2. A server that was restarted counts from nothing: what came before is drawn, but never subtracted from.
// 3. A moment that is not known is null, and a gap in a chart.

/** @typedef {{at: number, in: number | null, out: number | null, connections: number, p50: number | null,
 *             p99: number | null, unsynced: number, fill: number | null}} Point */

/** How many milliseconds are kept. */
export const SPAN = 300_000;
// Over how many seconds rates are shown as numbers, and latencies are counted.
const RECENT = 10;
const LATELY = 60;

export class Past {
  /** @type {Point[]} oldest first. */
  points = [];
  #snapshots = [];

  /** Take in a snapshot. @param {object} snapshot @param {number} at when it came, in milliseconds. */
  add(snapshot, at) {
    const before = this.#snapshots.at(-1);
    if (before && snapshot.uptimeSeconds < before.uptimeSeconds) this.#snapshots = [];
    this.#snapshots.push(snapshot);
    while (snapshot.uptimeSeconds - this.#snapshots[0].uptimeSeconds > LATELY + 1) this.#snapshots.shift();
    this.points.push(this.#point(snapshot, this.#snapshots.at(-2), at));
    while (at - this.points[0].at > SPAN) this.points.shift();
  }

  #point(now, before, at) {
    const latency = this.latency("redis");
    return {
      at,
      in: perSecond(before, now, "events"),
      out: perSecond(before, now, "deliveries"),
      connections: total(now.connections),
      p50: latency.p50,
      p99: latency.p99,
      unsynced: now.unsynced,
      fill: fill(now),
    };
  }

  /** @returns {object | undefined} the newest snapshot that is so many seconds older than the last, or the oldest. */
  #ago(seconds) {
    const last = this.#snapshots.at(-1);
    const earlier = this.#snapshots.slice(0, -1);
    return earlier.findLast((one) => last.uptimeSeconds - one.uptimeSeconds >= seconds - 1) ?? earlier[0];
  }

  /** @param {"events" | "deliveries"} name @returns {number | null} how many there were a second lately. */
  rate(name) {
    const last = this.#snapshots.at(-1);
    return last ? perSecond(this.#ago(RECENT), last, name) : null;
  }

  /** @param {"redis" | "archive"} store @returns {{p50: number | null, p99: number | null}} in seconds, of the last minute. */
  latency(store) {
    const now = this.#snapshots.at(-1)?.[store].latency;
    if (!now) return { p50: null, p99: null };
    const before = this.#ago(LATELY)?.[store].latency;
    const counts = now.counts.map((many, index) => many - (before?.counts[index] ?? 0));
    return { p50: quantile(now.bounds, counts, 0.5), p99: quantile(now.bounds, counts, 0.99) };
  }

  /** @param {object} room of the last snapshot. @returns {number | null} its changes a second lately. */
  roomRate(room) {
    const last = this.#snapshots.at(-1);
    const from = Math.max(this.#snapshots.indexOf(this.#ago(RECENT)), 0);
    for (const earlier of this.#snapshots.slice(from, -1)) {
      const known = earlier.active.find((one) => one.room === room.room);
      const seconds = last.uptimeSeconds - earlier.uptimeSeconds;
      if (known) return (room.top - (known.epoch === room.epoch ? known.top : 0)) / seconds;
    }
    return null;
  }
}

/** @returns {number} */
export function total(connections) {
  return Object.values(connections).reduce((sum, many) => sum + many, 0);
}

/** @returns {number | null} how full the windows are, of 1; null if they have no limit or there are none. */
export function fill({ messages, window, rooms }) {
  return window && rooms ? Math.min(messages / (window * rooms), 1) : null;
}

function perSecond(before, now, name) {
  if (!before || now.uptimeSeconds <= before.uptimeSeconds) return null;
  return Math.max(now[name] - before[name], 0) / (now.uptimeSeconds - before.uptimeSeconds);
}

/**
 * @param {number[]} bounds upper ones of all buckets but the last.
 * @param {number[]} counts how many values each bucket has.
 * @param {number} part such as 0.99.
 * @returns {number | null} the value below which that part is, as if each bucket were filled evenly; null without any.
 */
export function quantile(bounds, counts, part) {
  const all = counts.reduce((sum, many) => sum + many, 0);
  if (all === 0) return null;
  let below = 0;
  for (const [index, many] of counts.entries()) {
    if (many > 0 && below + many >= part * all) {
      const low = index === 0 ? 0 : bounds[index - 1];
      const high = bounds[index] ?? low;
      return low + ((high - low) * (part * all - below)) / many;
    }
    below += many;
  }
  return bounds.at(-1);
}
