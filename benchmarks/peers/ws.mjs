// Node's `ws`, with ioredis for admission and for pub/sub between its servers.
// ENCODE_ONCE=1: a broadcast is made a frame once, and written to the sockets past `ws`.
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { Sender, WebSocket, WebSocketServer } from "ws";

const { CAPACITY_SEATS, ENCODE_ONCE, PORT, REDIS_URL } = process.env;
const SEATS = Number(CAPACITY_SEATS);
const KEYS = ["{bench}:seats", "{bench}:line", "{bench}:counter"];
const CHANNEL = "{bench}:said";

const script = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const redis = new Redis(REDIS_URL);
redis.defineCommand("admit", { numberOfKeys: 3, lua: script("admit.lua") });
redis.defineCommand("release", { numberOfKeys: 2, lua: script("release.lua") });
const subscriber = new Redis(REDIS_URL);
await subscriber.subscribe(CHANNEL);

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(PORT), perMessageDeflate: false });

server.on("connection", async (client, request) => {
  const id = new URL(request.url, "ws://localhost").searchParams.get("id");
  client.id = id;
  client.on("error", console.error);
  client.on("close", () => redis.release(...KEYS.slice(0, 2), id));
  if (id === "control") client.on("message", (data) => redis.publish(CHANNEL, data));
  const [isSeated, number] = await redis.admit(...KEYS, id, SEATS);
  client.send(
    JSON.stringify(
      isSeated
        ? { type: "seated", participant: id, seat_limit: SEATS, occupied: number }
        : { type: "waiting", participant: id, position: number },
    ),
  );
});

const others = function* () {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN && client.id !== "control") yield client;
  }
};

if (ENCODE_ONCE) {
  subscriber.on("messageBuffer", (_, data) => {
    const options = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false };
    const frame = Buffer.concat(Sender.frame(data, options));
    for (const client of others()) client._socket.write(frame);
  });
} else {
  subscriber.on("message", (_, text) => {
    for (const client of others()) client.send(text);
  });
}
