// Socket.IO clients of npm's `socket.io-client`, driven by a test. What is said is in `drivers.py`.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const stateOf = (socket) => ({
  connected: socket.connected,
  recovered: socket.recovered ?? false,
  id: socket.id ?? null,
  // Private, and nowhere else: it says whether the server takes the client for the one it was.
  pid: socket._pid ?? null,
  transport: socket.io.engine?.transport.name ?? null,
});

function connect(client, url, auth, transports) {
  // A connection for each, as if each were in a process of its own.
  const socket = io(url, { auth, forceNew: true, ...(transports && { transports }) });
  const tell = (event, ...args) => say({ client, event, args });
  socket.onAny(tell);
  socket.on("connect", () => tell("connect", stateOf(socket)));
  socket.on("connect_error", (error) => tell("connect_error", { message: error.message, data: error.data ?? null }));
  socket.on("disconnect", (reason) => tell("disconnect", reason));
  socket.io.on("open", () => socket.io.engine.once("upgrade", (transport) => tell("upgrade", transport.name)));
  return socket;
}

const sockets = new Map();

function perform({ client, deed, args }, answer) {
  const socket = sockets.get(client);
  switch (deed) {
    case "open":
      sockets.set(client, connect(client, ...args));
      return answer(null);
    case "emit":
      socket.emit(...args);
      return answer(null);
    case "ask":
      return socket.emit(...args, (...said) => answer(said));
    case "state":
      return answer(stateOf(socket));
    case "close":
      socket.disconnect();
      return answer(null);
    case "reopen":
      socket.connect();
      return answer(null);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  perform(told, (answer) => say({ ref: told.ref, answer }));
}
process.exit(0);
