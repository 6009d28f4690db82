// @ts-check
/** `<capacity-room>`: the state of a room, the buttons by which its hosts open and end it, and what happened last. */

import { CapacityElement, connectionLine, h } from "./element.js";

const NEWS_MAX = 6;
/** What may be refused; of what the service says itself the longest. @type {readonly [key: string, values: Record<string, string>][]} */
const REFUSALS = [
  ["concurrent_sessions_reached", {}],
  ["no_connection", {}],
  ["host_token_text", {}],
  ["refused", { message: "The service cannot reach its store; seats are kept, try again shortly." }],
];
const STATES = /** @type {const} */ (["not_started", "open", "ended"]);

export class Room extends CapacityElement {
  static texts = /** @type {const} */ (["common", "host"]);
  static css = `
.head { display: flex; flex-wrap: wrap; gap: 0.5em; align-items: center; min-block-size: 1.5em; }
.pill { padding: 0 0.625em; border: 1px solid currentColor; border-radius: 2em; font-size: 0.875em; color: var(--_quiet); }
.pill.open { color: var(--_good); }
.second { margin-block-start: 1em; }
.actions { min-block-size: 2.75em; }
.news { display: grid; gap: 0.375em; }
.news time { color: var(--_quiet); font-variant-numeric: tabular-nums; margin-inline-end: 0.375em; }
`;

  /** @type {import("./types.js").Occupancy["state"] | null} */
  #state = null;
  /** @type {{ at: number, key: string, values: Record<string, string | number> }[]} */
  #news = [];
  /** @type {{ key: string, values: Record<string, string> } | null} */
  #refusal = null;
  /** @type {import("./types.js").Connection} */
  #connection = { state: "connecting" };
  /** The level and limit that were told last: a reconnected page is told again what it knows. */
  #told = "";
  /** @type {"open" | "end" | null} what is said once more on the next connection, whose token is fresh */
  #again = null;
  /** @type {"open" | "end" | null} what was said last */
  #said = null;

  reset() {
    this.#state = this.#refusal = this.#again = null;
    this.#news = [];
    this.#told = "";
  }

  /** @param {import("./client.js").CapacityClient} client */
  listen(client) {
    this.hear("error", ({ code, message }) => {
      if (code === "token_expired" && client.renewable && this.#said !== null) {
        this.#again = this.#said;
        this.#said = null;
        client.connect();
        return;
      }
      if (code === "token_expired") this.#refusal = { key: "host_token_text", values: {} };
      else this.#refusal = { key: code === "concurrent_sessions_reached" ? code : "refused", values: { message } };
      this.update();
    });
    this.hear("occupancy", ({ state }) => {
      if (state === "open") this.#refusal = null;
      this.#state = state;
      if (this.#again !== null) client.send(this.#again);
      this.#again = null;
      this.update();
    });
    this.hear("seat_limit", ({ seat_limit, previous }) => {
      const rose = seat_limit > previous;
      if (rose) this.#told = ""; // a level that still stands is told once more; that one is over is no news beside it
      this.#add(rose ? "limit_rose" : "limit_fell", { previous, limit: seat_limit });
    });
    this.hear("near_full", ({ room, level, occupied, seat_limit }) => {
      // The account's other rooms are told to who may buy: the same plan serves them all.
      if (room !== client.claims?.room) {
        this.#add(`other_${level}`, { room, occupied, n: seat_limit });
        return;
      }
      const told = `${level} ${seat_limit}`;
      if (told !== this.#told) this.#add(`news_${level}`, { occupied, n: seat_limit });
      this.#told = told;
    });
    this.hear("near_full_cleared", ({ room }) => {
      if (room !== client.claims?.room || this.#told === "") return;
      this.#told = "";
      this.#add("news_cleared");
    });
    this.hear("upgrade_requested", ({ name, participant, room }) => this.#add("asks", { name: name ?? participant, room }));
    this.hear("ended", ({ reason }) => {
      this.#state = "ended";
      this.#add(`news_ended_${reason}`);
    });
    if (!this.hasToken || (client.claims !== null && client.claims.role !== "host")) this.#connection = { state: "stopped" };
    this.hear("connection", (connection) => {
      this.#connection = connection;
      this.update();
    });
  }

  /** @param {string} key @param {Record<string, string | number>} [values] */
  #add(key, values = {}) {
    this.#news = [{ at: Date.now(), key, values }, ...this.#news].slice(0, NEWS_MAX);
    // A banner on the page says these aloud.
    const twice = /^(limit|news_(near|full))/.test(key) && document.querySelector("capacity-host-banner") !== null;
    if (this.t !== null && !twice) this.announce(this.t.say(key, values));
    this.update();
  }

  /** @param {"open" | "end"} type */
  #say(type) {
    this.#said = type;
    this.#refusal = this.client.send(type) ? null : { key: "no_connection", values: {} };
    this.update();
  }

  get #dialog() {
    return /** @type {HTMLDialogElement} */ (this.root.querySelector("dialog"));
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const state = this.#connection.stop === undefined || this.#state === "ended" ? this.#state : null;
    const button = (/** @type {string} */ key, /** @type {string} */ look, /** @type {() => void} */ onclick) =>
      h("button", { type: "button", class: look, part: "button", "data-key": key, onclick }, t.say(key));
    return [
      h(
        "section",
        { class: "card", part: "card", "aria-labelledby": "title" },
        h(
          "div",
          { class: "head" },
          h("h2", { id: "title", tabindex: "-1" }, t.say("webinar")),
          state !== null && h("span", { class: `pill ${state}`, part: "state" }, t.say(`state_${state}`)),
        ),
        // All in one place: the longest says how high it is, and nothing moves when the state changes or something is refused.
        h(
          "div",
          { class: "stack" },
          ...STATES.map((each) => {
            const seen = each === state && this.#refusal === null;
            return h("p", { class: seen ? "" : "ghost", "aria-hidden": seen ? null : "true" }, t.say(`room_${each}`));
          }),
          ...REFUSALS.map(([key, values]) => h("p", { class: "bad ghost", "aria-hidden": "true" }, t.say(key, values))),
          h("p", { class: "bad", role: "alert", part: "refusal" }, this.#refusal === null ? "" : t.say(this.#refusal.key, this.#refusal.values)),
        ),
        h(
          "p",
          { class: "actions" },
          state === "not_started" && button("open_room", "primary", () => this.#say("open")),
          state === "open" && button("end_for_all", "danger", () => this.#dialog.showModal()),
        ),
        connectionLine(t, this.#connection, t.say("all_kept")),
      ),
      h(
        "dialog",
        { "aria-labelledby": "end", part: "dialog" },
        h("h2", { id: "end" }, t.say("end_title")),
        h("p", {}, t.say("end_text")),
        h(
          "p",
          { class: "actions" },
          button("end_no", "", () => this.#dialog.close()),
          button("end_yes", "danger", () => {
            this.#dialog.close();
            this.#say("end");
          }),
        ),
      ),
      h(
        "section",
        { class: "card second", part: "card", "aria-labelledby": "news" },
        h("h2", { id: "news" }, t.say("what_happened")),
        h(
          "ol",
          { class: "news" },
          ...this.#news.map(({ at, key, values }) => h("li", { "data-key": `${at} ${key}` }, h("time", { datetime: new Date(at).toISOString() }, t.date(at, "time")), t.say(key, values))),
          this.#news.length === 0 && h("li", { class: "quiet" }, t.say("nothing_yet")),
        ),
      ),
    ];
  }
}
