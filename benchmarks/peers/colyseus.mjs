// Colyseus with its Redis presence and driver: one room for everybody, with admission by ioredis in `onJoin`.
import { readFileSync } from "node:fs";
import { Room, Server } from "@colyseus/core";
import { RedisDriver } from "@colyseus/redis-driver";
import { RedisPresence } from "@colyseus/redis-presence";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { Redis } from "ioredis";

const { CAPACITY_SEATS, PORT, REDIS_URL } = process.env;
const SEATS = Number(CAPACITY_SEATS);
const KEYS = ["{bench}:seats", "{bench}:line", "{bench}:counter"];
const CHANNEL = "{bench}:said";

const script = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const redis = new Redis(REDIS_URL);
redis.defineCommand("admit", { numberOfKeys: 3, lua: script("admit.lua") });
redis.defineCommand("release", { numberOfKeys: 2, lua: script("release.lua") });

class Webinar extends Room {
  maxClients = 1_000_000; // the line is in the room as well; the script decides who has a seat

  async onCreate() {
    this.hear = ({ from, text }) => this.broadcast("said", text, { except: this.clients.get(from) });
    await this.presence.subscribe(CHANNEL, this.hear);
    this.onMessage("say", (client, text) => {
      if (client.userData === "control") this.presence.publish(CHANNEL, { from: client.sessionId, text });
    });
  }

  async onJoin(client, { id }) {
    client.userData = id;
    const [isSeated, number] = await redis.admit(...KEYS, id, SEATS);
    client.send(
      "decision",
      isSeated
        ? { type: "seated", participant: id, seat_limit: SEATS, occupied: number }
        : { type: "waiting", participant: id, position: number },
    );
  }

  onLeave(client) {
    redis.release(...KEYS.slice(0, 2), client.userData);
  }

  async onDispose() {
    await this.presence.unsubscribe(CHANNEL, this.hear);
  }
}

const server = new Server({
  greet: false,
  transport: new WebSocketTransport(),
  presence: new RedisPresence(REDIS_URL),
  driver: new RedisDriver(REDIS_URL),
});
server.define("webinar", Webinar);
await server.listen(Number(PORT), "127.0.0.1");
