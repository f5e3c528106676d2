// Join a room, print what was said and what is said, say one line, and leave when the room has it.
//
// $ npm install socket.io-client
// $ node socket_io.mjs http://127.0.0.1:8000 ada team-42 "hello, bob"

import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";

const [url, user, room, line] = process.argv.slice(2);
// For a server started with AUTH_MODE=insecure. Any other wants `auth: { token }`.
const socket = io(url, { auth: { userId: user } });
// With an id of its own a message may be sent again, and is there once.
const id = randomUUID();

socket.on("connect", () => {
  if (socket.recovered) say(); // still in the room, and what was missed comes by itself
  else socket.emit("room:join", room, (answer) => (answer.ok ? say() : leave(answer.error.message)));
});

socket.on("messages:history", (messages) => messages.forEach(show));
socket.on("message:new", show);
socket.on("room:error", (text) => leave(text));

socket.on("connect_error", (error) => {
  if (socket.active) return; // the network's fault: the library tries again by itself
  if (error.data?.temporary) setTimeout(() => socket.connect(), 1000);
  else leave(error.message);
});

function say() {
  socket.emit("message:send", { teamId: room, content: line, id }, (answer) => {
    if (!answer.ok) leave(answer.error.message);
  });
}

function show(message) {
  console.log(`${message.userId}: ${message.content}`);
  if (message.id === id) leave();
}

function leave(complaint) {
  if (complaint) {
    console.error(complaint);
    process.exitCode = 1;
  }
  socket.disconnect();
}
