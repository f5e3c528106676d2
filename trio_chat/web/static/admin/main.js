// The dashboard, wired together: who asks, what is asked every other second, and what an operator can do.

import { roomProblem } from "../core/names.js";
import { fragment, remember, remembered, takeToken } from "../net/identity.js";
import { byId, element, prepareSkip, setText } from "../view/dom.js";
import { hideEntry, prepareEntry, showEntry } from "../view/entry.js";
import { confirmed, notify, prepareDialog } from "../view/notices.js";
import { prepareTheme } from "../view/theme.js";
import { Api } from "./api.js";
import { Drawer } from "./drawer.js";
import { count, counted } from "./figures.js";
import { fill, Past } from "./past.js";
import { Poll } from "./poll.js";
import { RoomTable } from "./table.js";
import { showHealth, Tiles } from "./tiles.js";

const KEY = "trio-chat.operator";
const REFUSED = {
  401: "The server does not accept this token, or does no more: it may have expired. Come in with another one.",
  403: "This token does not have the role admin, so the server tells it nothing. How to make one that has it is said below.",
};
/** What is searched for: without what no room's name has, which the server would refuse. */
const sought = () => byId("search").value.replace(/[^A-Za-z0-9_.:/@-]/g, "");

// How long one has stopped typing before rooms are searched for.
const TYPED = 250;

let api = null;
let past = new Past();
let last = null;
const tiles = new Tiles();
const table = new RoomTable(look);
const drawer = new Drawer({ onClose: closeRoom, onDisconnect: disconnect, onGone: () => address(null) });
const poll = new Poll(ask, {
  onAnswer: show,
  onTrouble: (error) => refused(error) || state("waiting", `${error.message} Trying again…`),
  onPause: () => state("paused", "Paused while nobody looks"),
});

// --- who asks

function start({ token }) {
  api = new Api(token);
  past = new Past();
  remember({ token }, KEY);
  hideEntry();
  state("connecting", "Connecting…");
  poll.start();
}

function leave(why = null) {
  poll.stop();
  api = null;
  remember(null, KEY);
  drawer.shut();
  showEntry("token", why);
}

/** @returns {boolean} whether this was a refusal of the token, after which another one is asked for. */
function refused(error) {
  if (!(error.status in REFUSED)) return false;
  leave(REFUSED[error.status]);
  return true;
}

// --- what is shown

async function ask(signal) {
  const room = drawer.open;
  const [overview] = await Promise.all([api.overview(sought(), signal), room && inspect(room)]);
  return overview;
}

function show(overview) {
  const at = Date.now();
  last = overview;
  past.add(overview, at);
  state("online", "Live");
  showHealth(overview);
  tiles.show(overview, past, at);
  table.show(overview.active.map(judged));
  showCount(overview);
}

function judged(room) {
  return { ...room, rate: past.roomRate(room), fill: fill({ messages: room.messages, window: last?.window, rooms: 1 }) };
}

function showCount({ active, matching, rooms }) {
  const some = active.length < matching ? `${count(active.length)} of ` : "";
  const found = byId("search").value.trim() ? `${counted(matching, "room")} found` : counted(rooms, "room");
  setText(byId("rooms-count"), `${some}${found}${some ? ", the last active" : ""}`);
  byId("rooms-empty").hidden = active.length > 0;
  setText(byId("rooms-empty"), rooms ? "No room has this in its name." : "No room is in memory. One begins when somebody joins it.");
}

function state(name, text) {
  document.documentElement.dataset.connection = name;
  setText(byId("state"), text);
}

// --- one room

function look(room) {
  drawer.look(room);
  address(room);
  inspect(room);
}

/** Bring what is shown of the open room up to date. Never fails. */
async function inspect(room) {
  const [figures, presence] = await Promise.allSettled([api.room(room), api.presence(room)]);
  if (drawer.open !== room) return;
  if (figures.status === "fulfilled") drawer.show(judged(figures.value));
  else drawer.miss(figures.reason.status === 404 ? "This room is not in memory. It begins again when somebody joins it." : figures.reason.message);
  if (presence.status === "fulfilled") drawer.showPeople(presence.value.members);
  else if (presence.reason.status === 403) drawer.showPeople(null);
}

function address(room) {
  history.replaceState(null, "", room === null ? location.pathname : `#room=${room}`);
}

// --- what an operator does

/** Do something, say what came of it, and look again. */
async function act(button, deed) {
  button?.setAttribute("aria-busy", "true");
  try {
    notify(...(await deed()));
  } catch (error) {
    if (!refused(error)) notify(`It was not done. ${error.message}`);
  }
  button?.removeAttribute("aria-busy");
  if (api) poll.now();
}

async function sync() {
  const question = "Archive now what is not archived yet? This is safe at any time.";
  if (!(await confirmed(question, "Sync now"))) return;
  await act(byId("sync"), async () => {
    const before = last?.sync.messages ?? 0;
    const done = await api.sync();
    return [`Synced: the archive has everything. ${counted(Math.max(done.messages - before, 0), "message")} written.`];
  });
}

async function closeRoom(room) {
  const question = `Close ${room}? Everybody is put out of it and may join again; its session and messages are kept.`;
  if (!(await confirmed(question, "Close the room"))) return;
  await act(byId("room-close"), async () => {
    const { members } = await api.close(room);
    drawer.shut();
    return [`Closed ${room}: ${counted(members, "connection was", "connections were")} put out of it.`];
  });
}

async function disconnect(user) {
  const question = [
    "Disconnect ",
    element("bdi", { class: "name", text: user }),
    "? Every connection ends, and no token made until now is accepted any more. Whoever makes tokens must make no more of them.",
  ];
  if (!(await confirmed(question, "Disconnect"))) return;
  await act(null, async () => {
    const { connections } = await api.disconnect(user);
    const ended = `: ${counted(connections, "connection was", "connections were")} ended.`;
    return ["Disconnected ", element("bdi", { text: user }), ended];
  });
}

// --- begin

prepareTheme();
prepareSkip();
prepareDialog();
prepareEntry("token", start);
byId("sign-out").addEventListener("click", () => leave());
byId("sync").addEventListener("click", sync);
byId("user-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("user");
  const user = field.value.trim();
  setText(byId("user-problem"), user ? "" : "Type the name of a user.");
  if (!user) return field.focus();
  await disconnect(user);
  field.value = "";
});
let typing = 0;
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => api && poll.now(), TYPED);
});
addEventListener("hashchange", () => {
  const token = takeToken();
  if (token) start({ token });
});

const token = takeToken();
const found = token ? { token } : remembered("token", KEY);
const room = fragment().get("room");
if (found) start(found);
else showEntry("token");
if (found && room && !roomProblem(room)) look(room);
