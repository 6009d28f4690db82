// @ts-check
/** `<capacity-gauge>`: the seats of a room, for its hosts: who has one, which are kept, how many are free, who waits. */

import { CapacityElement, h } from "./element.js";

/** Each lies over the one before and begins where all begin: then nothing moves, whatever grows. */
const BARS = /** @type {const} */ (["held", "away", "seated"]);
const NUMBERS = /** @type {const} */ (["seated", "away", "held", "free", "waiting", "peak"]);

export class Gauge extends CapacityElement {
  static texts = /** @type {const} */ (["common", "host"]);
  static css = `
.figure { display: grid; color: var(--_quiet); }
.figure strong { font-size: clamp(2.5em, 2em + 4cqi, 3.5em); line-height: 1.1; letter-spacing: -0.03em; color: var(--_ink); font-variant-numeric: tabular-nums; }
.gauge { position: relative; block-size: 1em; border-radius: 1em; overflow: hidden; background: var(--_track); }
.bar { position: absolute; inset-block: 0; inset-inline-start: 0; inline-size: 0; border-inline-end: 2px solid var(--_track); }
.seated { background: var(--_accent); }
.away { background: var(--_away); }
.held { background: var(--_good); }
.numbers { display: grid; grid-template-columns: repeat(2, 1fr); gap: 0.875em 0.75em; }
@container (min-width: 22em) { .numbers { grid-template-columns: repeat(3, 1fr); } }
@container (min-width: 38em) { .numbers { grid-template-columns: repeat(6, 1fr); } }
.numbers dt { display: flex; align-items: center; gap: 0.375em; font-size: 0.875em; color: var(--_quiet); }
.numbers dd { font-size: 1.5em; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.key { flex: none; inline-size: 0.75em; block-size: 0.75em; border-radius: 0.1875em; }
.key.free { background: var(--_track); border: 1px solid var(--_away); }
.key.waiting { background: var(--_warn); }
`;

  /** @type {import("./types.js").Occupancy | null} */
  #room = null;

  reset() {
    this.#room = null;
  }

  /** @param {import("./client.js").CapacityClient} _client */
  listen(_client) {
    this.hear("occupancy", (room) => {
      this.#room = room;
      this.tell("occupancy", room);
      this.update();
    });
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const room = this.#room;
    // After the limit was lowered more may be in the room than it has seats: the bar is then full, not longer.
    const whole = Math.max(room?.seat_limit ?? 0, room?.occupied ?? 0, 1);
    const card = h(
      "section",
      { class: "card", part: "card", "aria-labelledby": "title" },
      h("h2", { id: "title" }, t.say("seats")),
      h(
        "p",
        { class: "figure" },
        h("strong", { part: "occupied" }, room === null ? "–" : t.number(room.occupied)),
        h("span", { part: "limit" }, room === null ? "\u00a0" : t.say("of_seats", { n: room.seat_limit })),
      ),
      h(
        "div",
        {
          class: "gauge",
          part: "gauge",
          role: "meter",
          "aria-labelledby": "title",
          "aria-valuemin": "0",
          "aria-valuemax": String(whole),
          "aria-valuenow": String(room?.occupied ?? 0),
          "aria-valuetext": room === null ? "–" : `${t.number(room.occupied)} ${t.say("of_seats", { n: room.seat_limit })}`,
        },
        ...BARS.map((name) => h("span", { class: `bar ${name}`, part: "bar" })),
      ),
      h(
        "dl",
        { class: "numbers" },
        ...NUMBERS.map((name) =>
          h(
            "div",
            {},
            h("dt", {}, name !== "peak" && h("span", { class: `key ${name}` }), t.say(name)),
            h("dd", { part: name }, room === null ? "–" : t.number(room[name])),
          ),
        ),
      ),
    );
    return [card];
  }

  drawn() {
    const room = this.#room;
    if (room === null) return;
    const whole = Math.max(room.seat_limit, room.occupied, 1);
    const bars = /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll(".bar"));
    bars.forEach((bar, index) => {
      const seats = BARS.slice(index).reduce((sum, name) => sum + room[name], 0);
      bar.style.inlineSize = `calc(${(100 * seats) / whole}% + 2px)`;
    });
  }
}
