// Join a room, print what was said and what is said, say one line, and leave when the room has it.
//
// It runs in a browser as it does in Node 22, which has the same WebSocket:
// $ node native_wire.mjs ws://127.0.0.1:8000/ws ada team-42 "hello, bob"

const [url, user, room, line] = process.argv.slice(2);
const socket = new WebSocket(url);
const ask = (request) => socket.send(JSON.stringify(request));
const show = (message) => console.log(`${message.userId}: ${message.content}`);

socket.onopen = () => {
  // For a server started with AUTH_MODE=insecure. Any other wants `token`.
  ask({ type: "hello", user });
  // What follows is carried out in this order; no need to wait for an answer to each.
  ask({ type: "room:join", room });
  // With an id of its own a message may be sent again, and is there once.
  ask({ type: "message:send", room, content: line, id: crypto.randomUUID(), ref: "mine" });
};

socket.onmessage = ({ data }) => {
  const said = JSON.parse(data);
  switch (said.type) {
    case "messages:history":
      said.messages.forEach(show);
      break;
    case "message:new":
      show(said.message);
      break;
    case "ack":
      console.log(`(stored in ${said.durability})`);
      socket.close();
      break;
    case "error":
      leave(said.message);
      break;
  }
};

socket.onerror = () => leave("the server cannot be reached");

function leave(complaint) {
  console.error(complaint);
  process.exitCode = 1;
  socket.close();
}
