// Socket.IO with its Redis adapter, WebSocket only; admission by ioredis.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const { CAPACITY_SEATS, PORT, REDIS_URL } = process.env;
const SEATS = Number(CAPACITY_SEATS);
const KEYS = ["{bench}:seats", "{bench}:line", "{bench}:counter"];

const script = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const redis = new Redis(REDIS_URL);
redis.defineCommand("admit", { numberOfKeys: 3, lua: script("admit.lua") });
redis.defineCommand("release", { numberOfKeys: 2, lua: script("release.lua") });

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(redis, redis.duplicate()),
  serveClient: false,
  transports: ["websocket"],
});
// Socket.IO's own advice on memory: https://socket.io/docs/v4/memory-usage/
io.engine.on("connection", (socket) => {
  socket.request = null;
});

io.on("connection", async (socket) => {
  const { id } = socket.handshake.auth;
  socket.on("disconnect", () => redis.release(...KEYS.slice(0, 2), id));
  if (id === "control") socket.on("say", (text) => socket.broadcast.emit("said", text));
  const [isSeated, number] = await redis.admit(...KEYS, id, SEATS);
  socket.emit(
    "decision",
    isSeated
      ? { type: "seated", participant: id, seat_limit: SEATS, occupied: number }
      : { type: "waiting", participant: id, position: number },
  );
});

http.listen(Number(PORT), "127.0.0.1");
