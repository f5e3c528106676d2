// Who is in the open room, and who is writing.

import { listed } from "../core/names.js";
import { arrange, byId, element } from "./dom.js";
import { avatar } from "./row.js";

// After this long without a sign of life somebody is shown as away.
const AWAY = 5 * 60_000;

let shown = new Map();

/** @param {Room} room @param {Date} now */
export function showPeople(room, now) {
  const people = [...room.people.values()].sort((a, b) => a.userId.localeCompare(b.userId));
  const items = new Map(people.map((one) => [one.userId, item(room, one, now)]));
  shown = items;
  arrange(byId("people-list"), [...items.values()].map(({ node }) => node));
  const text = people.length === 1 ? "1 person here" : `${people.length} people here`;
  byId("people-count").textContent = room.entered ? text : "";
  byId("show-people-count").textContent = String(people.length);
}

function item(room, { userId, lastActiveAt }, now) {
  const me = userId === room.me;
  const typing = room.typing.has(userId);
  const away = !me && now - new Date(lastActiveAt) > AWAY;
  const version = JSON.stringify([userId, me, typing, away]);
  const known = shown.get(userId);
  if (known?.version === version) return known;
  const note = typing ? "writing…" : away ? "away" : me ? "you" : "";
  const node = element(
    "li",
    { class: away ? "person away" : "person" },
    avatar(userId, "small"),
    element("bdi", { class: "name", title: userId, text: userId }),
    note ? element("span", { class: "note", text: note }) : null,
  );
  return { node, version };
}

/** @param {Room | null} room */
export function showTyping(room) {
  const names = room ? [...room.typing].filter((name) => name !== room.me) : [];
  const text = names.length ? `${listed(names)} ${names.length === 1 ? "is" : "are"} writing…` : "";
  const place = byId("typing");
  if (place.textContent !== text) place.textContent = text;
}
