// One message in the log.

import { colour, initials, listed } from "../core/names.js";
import { ago, clock, fully } from "../core/when.js";
import { element, icon } from "./dom.js";
import { bodyOf } from "./said.js";

const STATES = {
  sending: ["clock", "Sending"],
  memory: ["memory", "Received, but kept in the server’s memory only: its Redis is away"],
  stored: ["check", "Stored"],
  archived: ["checks", "Archived"],
  failed: ["alert", "Not sent"],
};

/** @param {string} name @param {string} extra more classes. @returns {HTMLElement} somebody's initials. */
export function avatar(name, extra = "") {
  const classes = `avatar c${colour(name)} ${extra}`;
  return element("span", { class: classes, "aria-hidden": "true", text: initials(name) });
}

/** @param {string} timestamp @param {Date} now @returns {HTMLElement} */
export function timeOf(timestamp, now) {
  const then = new Date(timestamp);
  return element("time", { datetime: timestamp, title: fully(then), class: "when", text: ago(then, now) });
}

/** Bring every relative time below an element up to date. */
export function refreshTimes(root, now) {
  for (const time of root.querySelectorAll("time.when")) {
    const text = ago(new Date(time.getAttribute("datetime")), now);
    if (time.textContent !== text) time.textContent = text;
  }
}

/**
 * @param {object} entry of `Room.timeline`.
 * @param {{follows: boolean, mine: boolean, readers: string[], now: Date}} how it stands in the log.
 * @param {{onEdit: () => void, onDelete: () => void, onAgain: () => void, onDiscard: () => void}} heed
 * @returns {HTMLElement}
 */
export function rowOf(entry, how, heed) {
  const classes = ["row", how.follows && "follows", how.mine && "mine", entry.role, entry.state];
  return element(
    "article",
    { class: classes.filter(Boolean).join(" "), tabindex: "-1", "data-id": entry.id },
    how.follows ? gutter(entry) : face(entry),
    element(
      "div",
      { class: "what" },
      byline(entry, how),
      bodyOf(entry),
      entry.state === "failed" ? failure(entry, heed) : null,
    ),
    aside(entry, how),
    entry.removable ? tools(entry, heed) : null,
  );
}

function face(entry) {
  if (entry.role === "user") return avatar(entry.userId);
  return element("span", { class: `avatar ${entry.role}`, "aria-hidden": "true" }, icon("spark"));
}

function gutter(entry) {
  const text = clock(new Date(entry.timestamp));
  return element("span", { class: "gutter", "aria-hidden": "true", text });
}

/** Who and when. It is always there for screen readers, also where it is seen to be the same as above. */
function byline(entry, how) {
  const badge = entry.role === "user" ? null : element("span", { class: "badge", text: entry.role });
  return element(
    "div",
    { class: how.follows ? "byline unseen" : "byline" },
    element("bdi", { class: "name", text: entry.userId }),
    badge,
    " ",
    timeOf(entry.timestamp, how.now),
  );
}

/** How far it is kept, whether it was edited, and who has read up to here. */
function aside(entry, how) {
  const edited = entry.rev > entry.seq ? element("span", { class: "edited", text: "edited" }) : null;
  const state = how.mine ? stateMark(entry.state) : null;
  return element("div", { class: "aside" }, edited, state, how.readers.length ? readersMark(how.readers) : null);
}

function stateMark(state) {
  const [picture, text] = STATES[state];
  const label = element("span", { class: "unseen", text });
  return element("span", { class: `state ${state}`, title: text }, icon(picture), label);
}

function readersMark(readers) {
  const text = `Read by ${listed(readers)}`;
  const faces = readers.slice(0, 3).map((name) => avatar(name, "tiny"));
  const more = readers.length > 3 ? element("span", { "aria-hidden": "true", text: `+${readers.length - 3}` }) : null;
  const label = element("span", { class: "unseen", text });
  return element("span", { class: "readers", title: text }, ...faces, more, label);
}

function failure(entry, heed) {
  return element(
    "div",
    { class: "failure" },
    element("span", { text: `Not sent. ${entry.problem}` }),
    element("button", { type: "button", class: "link", onclick: heed.onAgain, text: "Try again" }),
    element("button", { type: "button", class: "link", onclick: heed.onDiscard, text: "Discard" }),
  );
}

function tools({ changeable }, heed) {
  // Reached with Tab from the message they belong to, which the arrow keys choose: not a stop each on everybody's way.
  const button = (name, text, onclick) =>
    element("button", { type: "button", class: "tool", tabindex: "-1", onclick, "aria-label": text, title: text }, icon(name));
  return element(
    "div",
    { class: "tools" },
    changeable ? button("edit", "Edit", heed.onEdit) : null,
    button("trash", "Delete", heed.onDelete),
  );
}

/**
 * @param {string} content
 * @param {{onText: (content: string) => void, onSave: (content: string) => void, onCancel: () => void}} heed
 * @returns {HTMLElement} what replaces a message while it is edited.
 */
export function editorOf(content, heed) {
  const field = element("textarea", { rows: "2", class: "field", "aria-label": "Edit your message" });
  field.value = content;
  const save = () => (field.value.trim() ? heed.onSave(field.value) : heed.onCancel());
  field.addEventListener("input", () => heed.onText(field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") heed.onCancel();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return element(
    "div",
    { class: "row editor" },
    element("span", { class: "gutter" }),
    element(
      "div",
      { class: "what" },
      field,
      element(
        "div",
        { class: "actions" },
        element("button", { type: "button", class: "button primary", onclick: save, text: "Save" }),
        element("button", { type: "button", class: "button", onclick: heed.onCancel, text: "Cancel" }),
        element("span", { class: "hint", text: "Enter saves, Escape cancels" }),
      ),
    ),
  );
}
