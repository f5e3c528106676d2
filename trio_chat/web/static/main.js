// The page, wired together: who one is, the rooms, and what is drawn when something has changed.

import { isAboutToken } from "./core/advice.js";
import { roomProblem } from "./core/names.js";
import { Chat } from "./net/chat.js";
import { forgetRoom, fragment, rememberRoom, remembered, rememberedRooms, takeToken } from "./net/identity.js";
import { Pass } from "./net/pass.js";
import { Composer } from "./view/composer.js";
import { byId, prepareSkip } from "./view/dom.js";
import { hideEntry, prepareEntry, showEntry } from "./view/entry.js";
import { Log } from "./view/log.js";
import { confirmed, notify, prepareDialog, showConnection } from "./view/notices.js";
import { showPeople, showTyping } from "./view/people.js";
import { Renewal } from "./view/renewal.js";
import { RoomList } from "./view/rooms.js";
import { prepareTheme } from "./view/theme.js";

const TIMES = 20_000;
const TITLE = document.title;

const mode = document.documentElement.dataset.auth;
const socket = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const pass = new Pass(mode === "insecure");

const chat = new Chat(socket, () => pass.identity, {
  onState,
  onUser,
  onRoom: () => draw(),
  onMessage: () => {},
  onProblem: notify,
});
pass.chat = chat;

const log = new Log(byId("log"), {
  onOlder: () => chat.open && chat.older(chat.open),
  onScroll: () => chat.open && look(chat.open),
  onEdit: (id, content) => chat.outbox.edit(chat.open, id, content),
  onDelete: removeMessage,
  onAgain: (id) => chat.outbox.sendAgain(chat.open, id),
  onDiscard: (id) => chat.outbox.discard(chat.open, id),
  onDone: () => {
    draw();
    composer.focus();
  },
});

const composer = new Composer({
  onSend: (text) => {
    chat.signs.stopTyping(chat.open, true);
    chat.outbox.send(chat.open, text);
    log.jump();
  },
  onType: () => chat.signs.type(chat.open),
  onEmpty: () => chat.signs.stopTyping(chat.open),
  onEditLast: () => log.editLast(),
});

const renewal = new Renewal({ onToken: renew, onDone: () => composer.focus() });

const rooms = new RoomList({ onOpen: openRoom, onLeave: leaveRoom });

// --- who one is

function start(found) {
  pass.hold(found);
  hideEntry();
  chat.restart();
}

function onUser(user) {
  byId("me-name").textContent = user;
  composer.begin(user);
  log.begin(user);
  if (chat.rooms.size === 0) for (const id of rememberedRooms(user)) if (!roomProblem(id)) chat.join(id);
  // On the second welcome of a connection that was lost nothing is opened: one stays where one is.
  if (chat.open && chat.rooms.has(chat.open.id)) return;
  openRoom(fragment().get("room") ?? chat.rooms.keys().next().value ?? null, false);
}

function onState(state) {
  pass.hear(state);
  showState(state);
  if (pass.lapsed(state)) {
    showPane("chat"); // where it is said
  } else if (isAboutToken(state)) {
    renewal.close();
    showEntry(mode, pass.why(state));
  }
  draw();
}

function showState(state) {
  showConnection({ ...state, ...pass.remarkOn(state) }, mendConnection);
}

function mendConnection() {
  if (pass.lapsed(chat.state) || chat.state.name === "online") renewal.open();
  else if (chat.state.name === "refused") chat.restart();
  else chat.hurry();
}

/** Go on with a fresh token. @returns {Promise<string | null>} what is wrong with it, if anything. */
async function renew(token) {
  const problem = await pass.renew(token);
  if (problem === null) notify("You go on with the fresh token.");
  showState(chat.state);
  return problem;
}

function signOut() {
  pass.hold(null);
  chat.stop();
  composer.end();
  log.end();
  setAddress(null, false);
  draw();
  showEntry(mode);
}

// --- rooms

function openRoom(id, deliberately = true) {
  if (id === null) {
    showPane("rooms");
    draw();
    return;
  }
  const problem = roomProblem(id);
  if (problem !== null) {
    notify(`This room cannot be entered. ${problem}`);
    setAddress(chat.open?.id ?? null, false);
    return;
  }
  const room = chat.join(id);
  room.seenAtOpening = room.unread() ? room.seen : null;
  chat.open = room;
  rememberRoom(chat.me, id);
  setAddress(id, deliberately);
  showPane("chat");
  draw();
  if (deliberately && matchMedia("(hover: hover)").matches) composer.focus();
}

function leaveRoom(id) {
  chat.leave(id);
  forgetRoom(chat.me, id);
  setAddress(null, false);
  openRoom(chat.rooms.keys().next().value ?? null, false);
}

/** @param {string | null} id of the room the address leads to. @param {boolean} further whether one can go back from it. */
function setAddress(id, further) {
  const address = id === null ? location.pathname : `#room=${id}`;
  if (location.hash !== address) history[further ? "pushState" : "replaceState"](null, "", address);
}

async function removeMessage(id) {
  const room = chat.open;
  if (await confirmed("Delete this message for everybody?")) chat.outbox.remove(room, id);
  composer.focus();
}

// --- what is drawn

let drawing = 0;

/** Draw at the next frame, however often it is asked for until then. A hidden page gets none, and a moment does. */
function draw() {
  if (drawing) return;
  drawing = document.hidden ? setTimeout(drawNow, 200) : requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = 0;
  const room = chat.open;
  rooms.show(chat.rooms.values(), room);
  byId("people").hidden = room === null;
  byId("chat").classList.toggle("no-room", room === null);
  byId("nothing-open").hidden = room !== null;
  byId("room-view").hidden = room === null;
  showTyping(room);
  showTitle();
  if (room === null) return;
  byId("room-title").textContent = room.id;
  byId("log").setAttribute("aria-label", `Messages in ${room.id}`);
  showProblem(room);
  composer.show(room.id);
  composer.hide(room.problem !== null);
  byId("durability").hidden = room.durability !== "memory" || !room.entered;
  log.show(room, chat.state.name === "online");
  showPeople(room, new Date());
  look(room);
}

/** What depends on where one has scrolled to. */
function look(room) {
  showJump(room);
  if (!document.hidden && log.atEnd) chat.see(room);
}

function showProblem(room) {
  byId("room-problem").hidden = room.problem === null;
  byId("room-problem-text").textContent = room.problem ?? "";
}

function showJump(room) {
  const jump = byId("jump");
  jump.hidden = log.atEnd;
  const unread = room.unread();
  const text = unread ? `${unread} new` : "Newest";
  if (jump.lastChild.textContent !== text) jump.lastChild.textContent = text;
  jump.classList.toggle("fresh", unread > 0);
}

function showTitle() {
  let unread = 0;
  for (const room of chat.rooms.values()) if (room !== chat.open || document.hidden) unread += room.unread();
  const place = chat.open ? `${chat.open.id} – ${TITLE}` : TITLE;
  const title = unread ? `(${unread}) ${place}` : place;
  if (document.title !== title) document.title = title;
}

/** On a phone one of the three is seen at a time; elsewhere this changes nothing. */
function showPane(pane) {
  byId("app").dataset.pane = pane;
}

// --- begin

prepareTheme();
prepareSkip();
prepareDialog();
prepareEntry(mode, start);
byId("jump").addEventListener("click", () => {
  log.jump();
  draw();
  composer.focus();
});
byId("sign-out").addEventListener("click", signOut);
byId("show-rooms").addEventListener("click", () => showPane("rooms"));
byId("show-people").addEventListener("click", () => showPane(byId("app").dataset.pane === "people" ? "chat" : "people"));
byId("hide-people").addEventListener("click", () => showPane("chat"));
byId("room-again").addEventListener("click", () => chat.open && chat.retry(chat.open));
byId("suggest").addEventListener("click", (event) => openRoom(event.currentTarget.textContent));
addEventListener("hashchange", () => {
  const token = takeToken();
  if (token) start({ token });
  const id = fragment().get("room");
  if (id && chat.me && id !== chat.open?.id) openRoom(id, false);
});
addEventListener("beforeunload", (event) => chat.unsaid && event.preventDefault());
document.addEventListener("visibilitychange", () => {
  drawing = 0; // the frame that was asked for may never come
  draw();
});
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => chat.signs.stir(chat.open), { passive: true });
setInterval(() => {
  log.tick();
  showState(chat.state);
  draw();
}, TIMES);

const token = takeToken();
const found = mode === "token" && token ? { token } : remembered(mode);
if (found) start(found);
else showEntry(mode);
