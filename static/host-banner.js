// @ts-check
/**
 * `<capacity-host-banner>`: what a host must know and can do while the room fills. It warns when the room is nearly full
 * and full, with the plan that fits and today's price; whoever may buy upgrades in a dialog, without leaving the room,
 * the others ask. When the limit rose it tells so, and how the line empties. Its place is kept from the start, so that
 * nothing on the page moves; with the attribute `overlay` it lies over the page, and is there only when it has to say
 * something.
 */

import { CapacityElement, h } from "./element.js";

const FRESH_MS = 8_000; // a raise is seen for so long, also if it leaves the room nearly full
const NEWS_MS = 60_000; // and this long if there is nothing else to say
const ACCOUNT_PATH = "/account";

/** @typedef {{ level: "calm" | "good" | "near_full" | "full", title: string, text: string }} Says */

export class HostBanner extends CapacityElement {
  static texts = /** @type {const} */ (["common", "host"]);
  static css = `
:host([overlay]) { position: fixed; inset: 0 0 auto; z-index: 2147483000; padding: 0.5em; pointer-events: none; }
:host([overlay]) .banner { pointer-events: auto; box-shadow: 0 0.5em 2em rgb(8 12 20 / 30%); }
:host([overlay]) [data-level="calm"], :host([overlay]) .ghost { display: none; }
.banner {
  --_edge: initial;
  display: grid; gap: 0.75em; align-content: space-between; padding: clamp(0.875em, 3cqi, 1.25em);
  border: 1px solid var(--_line); border-inline-start: 0.375em solid var(--_edge, var(--_line)); border-radius: var(--_radius);
  background: color-mix(in srgb, var(--_edge, transparent) 10%, var(--_surface));
}
.banner[data-level="near_full"] { --_edge: var(--_warn); }
.banner[data-level="full"] { --_edge: var(--_bad); }
.banner[data-level="good"] { --_edge: var(--_good); }
.title { font-size: 1.25em; font-weight: 650; line-height: 1.3; }
.asks:empty { display: none; }
@container (min-width: 44em) { .banner { grid-template: 1fr / 1fr auto; align-items: start; } .actions { align-self: center; } }
`;

  /** @type {import("./types.js").Occupancy | null} */
  #room = null;
  /** @type {import("./types.js").NearFull | null} what was told last and is not cleared */
  #warning = null;
  /** @type {import("./types.js").SeatLimit | null} the last change, while it is news */
  #change = null;
  #fresh = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #freshTimer;
  /** @type {import("./types.js").StopReason | "no_token" | "attendee" | null} */
  #stop = null;
  #asked = false;
  #asks = "";
  #hidden = "";
  #told = "";
  #said = "";
  #warnedAt = 0;
  #lost = false; // the connection, at the moment
  #failed = false; // to load the purchase

  reset() {
    this.#room = this.#warning = this.#change = this.#stop = null;
    this.#fresh = this.#asked = false;
    this.#asks = this.#hidden = this.#told = this.#said = "";
  }

  /** @param {import("./client.js").CapacityClient} client */
  listen(client) {
    const own = (/** @type {string} */ room) => room === client.claims?.room;
    this.hear("occupancy", (room) => {
      this.#room = room;
      this.update();
    });
    this.hear("near_full", (warning) => {
      if (!own(warning.room)) return;
      this.#warning = warning;
      this.#warnedAt = performance.now();
      if (!this.#fresh) this.#change = null;
      if (this.#told !== warning.level) this.tell("near-full", warning);
      this.#told = warning.level;
      this.update();
    });
    this.hear("near_full_cleared", ({ room }) => {
      if (!own(room)) return;
      this.#warning = null;
      this.#told = this.#asks = "";
      this.update();
    });
    this.hear("seat_limit", (change) => this.#changed(change));
    this.hear("upgrade_requested", ({ name, participant, room }) => {
      if (own(room)) this.#asks = name ?? participant;
      this.update();
    });
    this.hear("ended", () => {
      this.#stop = "ended";
      this.update();
    });
    this.every(() => this.#warning?.full_in_seconds && this.update(), 10_000);
    this.hear("connection", ({ state, stop }) => {
      this.#lost = state === "reconnecting";
      // What stands is told again on connecting.
      if (state === "connected" && client.latest("near_full") === undefined) this.#warning = null;
      if (stop !== undefined && this.#stop !== "ended") this.#stop = stop;
      else if (state === "connecting") this.#stop = null;
      this.update();
    });
    if (!this.hasToken) this.#stop = "no_token";
    else if (client.claims?.role === "attendee") this.#stop = "attendee";
  }

  /** @param {import("./types.js").SeatLimit} change */
  #changed(change) {
    const rose = change.seat_limit > change.previous;
    this.#change = change;
    this.#asked = false;
    this.#asks = "";
    this.#fresh = rose;
    if (rose) this.#warning = null; // what still stands is told once more, with the new numbers
    const room = this.#room;
    if (room !== null) this.#room = { ...room, seat_limit: change.seat_limit, free: Math.max(0, change.seat_limit - room.occupied) };
    this.tell("seat-limit", change);
    this.#later(FRESH_MS, () => {
      this.#fresh = false;
      if (this.#warning !== null) this.#change = null;
      else this.#later(NEWS_MS - FRESH_MS, () => (this.#change = null));
    });
    this.update();
  }

  /** @param {number} ms @param {() => void} action */
  #later(ms, action) {
    clearTimeout(this.#freshTimer);
    this.#freshTimer = setTimeout(() => {
      action();
      this.update();
    }, ms);
  }

  disconnectedCallback() {
    clearTimeout(this.#freshTimer);
    super.disconnectedCallback();
  }

  get #mayBuy() {
    return this.client.claims?.billing === true;
  }

  /** Where plans are sold: in the dialog, or at an address elsewhere. @param {string} [plan] the one to choose at first */
  async upgrade(plan = this.#warning?.upgrade?.plan) {
    const url = new URL(this.#warning?.upgrade?.url ?? ACCOUNT_PATH, this.server);
    if (!this.tell("upgrade", { plan, url: url.href })) return;
    if (url.pathname === ACCOUNT_PATH && url.origin === new URL(this.server).origin) await this.#sell(plan);
    else if (/^https?:$/.test(url.protocol)) open(url, "_blank", "noopener,noreferrer");
  }

  /** @param {string} [plan] */
  async #sell(plan) {
    try {
      const { PlanDialog } = await import("./plan-dialog.js");
      this.#failed = false;
      PlanDialog.of(this).open("upgrade", plan);
    } catch {
      this.#failed = true; // the network did; the next press tries again
    }
    this.update();
  }

  #ask() {
    this.#asked = this.client.send("request_upgrade");
    this.update();
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const says = this.#says(t);
    const spoken = `${says.title} ${says.level === "calm" ? "" : says.text}`;
    const event = `${says.level} ${this.#stop} ${this.#change?.seat_limit}`;
    if (this.#said !== event && says.level !== "calm") this.announce(spoken);
    this.#said = event;
    const hidden = this.hasAttribute("overlay") && this.#hidden === event;
    const offer = this.#stop === null && !this.#fresh ? this.#warning?.upgrade : null;
    const asks = this.#asks === "" || !this.#mayBuy ? "" : t.say("asks_here", { name: this.#asks });
    const line = this.#failed ? t.say("problem_unreachable") : this.#lost && this.#stop === null ? t.say("connection_lost") : asks;
    return [
      h(
        "div",
        { class: "stack" },
        this.#ghost(t),
        h(
          "section",
          { class: "banner", part: "banner", "data-level": says.level, "aria-label": t.say("banner"), hidden },
          // New words are new nodes: a text that is as long as another never pushes what follows it.
          h(
            "div",
            { "data-key": says.title },
            h("p", { class: "title", part: "title", tabindex: "-1" }, says.title),
            h("p", { part: "text" }, says.text),
            h("p", { class: "asks", part: "asks" }, line),
          ),
          h(
            "p",
            { class: "actions", part: "actions" },
            offer && this.#mayBuy && h("button", { type: "button", class: "primary", part: "button upgrade", onclick: () => this.upgrade() }, t.say("upgrade")),
            offer && !this.#mayBuy && h("button", { type: "button", class: "primary", part: "button ask", disabled: this.#asked, onclick: () => this.#ask() }, t.say(this.#asked ? "asked" : "ask")),
            this.hasAttribute("overlay") && h("button", { type: "button", part: "button", onclick: () => this.#hide(event) }, t.say("close")),
          ),
        ),
      ),
    ];
  }

  /** @param {string} event */
  #hide(event) {
    this.#hidden = event;
    this.update();
  }

  /** The longest that the banner may have to say, unseen: so much place is kept. @param {import("./texts.js").Texts} t */
  #ghost(t) {
    const price = t.price({ amount: 999_900, currency: "USD" });
    const offer = `${t.say("offer_price", { plan: "Business", n: 1_000, price })} ${t.say("full_in", { duration: t.duration(2_700) })}`;
    const lines = [t.say("asks_here", { name: "Maria Mustermann" }), t.say("connection_lost"), t.say("problem_unreachable")];
    return h(
      "div",
      { class: "banner ghost", "aria-hidden": "true" },
      h("div", {}, h("p", { class: "title" }, t.say("full_title", { waiting: t.say("people_wait", { n: 1_000 }) })), h("p", {}, offer), h("div", { class: "stack" }, ...lines.map((line) => h("p", {}, line)))),
      h("p", { class: "actions" }, h("span", { class: "button" }, t.say("ask"))),
    );
  }

  /** @param {import("./texts.js").Texts} t @returns {Says} */
  #says(t) {
    const room = this.#room;
    if (this.#stop !== null) return { level: "calm", title: t.say(`host_${this.#stop}_title`), text: t.say(`host_${this.#stop}_text`) };
    if (room === null) return { level: "calm", title: t.say("one_moment"), text: "" };
    if (this.#warning !== null && !this.#fresh) return this.#warns(t, this.#warning, room);
    if (this.#change !== null) return this.#news(t, this.#change, room);
    if (room.state === "not_started") return { level: "calm", title: t.say("not_open"), text: room.waiting === 0 ? t.say("nobody_waits") : t.say("wait_to_open", { n: room.waiting }) };
    if (room.state === "ended") return { level: "calm", title: t.say("host_ended_title"), text: t.say("host_ended_text") };
    return { level: "calm", title: t.say("seats_free", { n: room.free }), text: t.say("told_here") };
  }

  /** @param {import("./texts.js").Texts} t @param {import("./types.js").NearFull} warning @param {import("./types.js").Occupancy} room @returns {Says} */
  #warns(t, { level, upgrade, full_in_seconds }, room) {
    const waiting = room.waiting > 0 ? t.say("people_wait", { n: room.waiting }) : t.say("nobody_waits_yet");
    const title = level === "full" ? t.say("full_title", { waiting }) : t.say("near_full_title", { n: room.free });
    const left = (full_in_seconds ?? 0) - (performance.now() - this.#warnedAt) / 1_000; // none once its time has passed
    const soon = level === "full" || left <= 0 ? "" : t.say("full_in", { duration: t.duration(left) });
    let offer = "";
    if (upgrade !== null) {
      const values = { plan: upgrade.name, n: upgrade.seats };
      offer = upgrade.due_now === null ? t.say("offer", values) : t.say("offer_price", { ...values, price: t.price(upgrade.due_now) });
    }
    return { level, title, text: `${offer} ${soon}`.trim() };
  }

  /** @param {import("./texts.js").Texts} t @param {import("./types.js").SeatLimit} change @param {import("./types.js").Occupancy} room @returns {Says} */
  #news(t, { seat_limit, previous }, { waiting, held, free }) {
    const values = { previous, limit: seat_limit };
    if (seat_limit < previous) return { level: "calm", title: t.say("limit_fell", values), text: t.say("limit_fell_text") };
    const text = held > 0 ? t.say("let_in", { n: held }) : waiting > 0 ? t.say("wait_for_next", { n: waiting }) : t.say("all_in", { n: free });
    return { level: "good", title: t.say("limit_rose", values), text };
  }
}
