// What an embedder's TypeScript knows of the client, from its JSDoc alone. Compiled by `make types`, never run.

import { CapacityClient, claimsOf, tokenFrom, TokenError } from "../../static/capacity.js";

const client = new CapacityClient({ token: tokenFrom("/token"), url: "wss://seats.example/v1/ws", random: () => 0.5 });

const stop: () => void = client.on("waiting", ({ position, eta_seconds, reason }) => {
  const place: number = position;
  const eta: number | null = eta_seconds;
  if (reason === "not_started") console.log(place, eta);
  // @ts-expect-error: there is no such reason
  if (reason === "late") console.log();
});

client.on("connection", ({ state, stop }) => {
  if (state === "stopped" && stop === "token") console.log("sign in again");
});

// @ts-expect-error: a message that there is not
client.on("seat", () => {});
// @ts-expect-error: a field that there is not
client.on("seated", ({ place }) => console.log(place));
// @ts-expect-error: what a client cannot say
client.send("seated");
// @ts-expect-error: a token is needed
new CapacityClient({});

const said: boolean = client.send("claim");
const name: string | undefined = claimsOf("a.b.c")?.name;
const limit: number | undefined = client.latest("occupancy")?.seat_limit;
const final = (error: unknown): boolean => error instanceof TokenError && error.final;
console.log(said, name, limit, final, stop);
