// @ts-check
/**
 * `<capacity-waiting-room>`: a seat, or a place in the line and what comes next. When a seat is held for its reader it
 * reloads the page, at a random moment within the spread that the server names, so that a whole line does not come back
 * at once; with the attribute `claim` it takes the seat in place. Where the service cannot be reached it goes on
 * waiting, or with `on-unavailable="admit"` lets its reader in without a seat. docs/embed.md has all of it.
 */

import { expiresWithin } from "./client.js";
import { CapacityElement, connectionLine, h, handOver, keep } from "./element.js";

const PROBE_MS = 3_000; // how long the server may take to show that a reload would find the page
const UNAVAILABLE_SECONDS = 10;
const QUIET_MS = 20_000; // between two announcements of a place
const NEAR_POSITIONS = 3; // from here on each place is announced

/** What can be done once the connection stopped for good. @type {Readonly<Record<string, string>>} */
const AGAIN = Object.freeze({ left: "join_again", replaced: "use_this_page", bug: "try_again" });

const STANDS = /** @type {const} */ (["seated", "waiting", "refresh"]);
const STEPS = /** @type {const} */ (["waiting", "held", "seated"]);

/** @typedef {"connecting" | "waiting" | "held" | "seated" | "admitted" | "stopped"} State */

export class WaitingRoom extends CapacityElement {
  static role = /** @type {const} */ ("attendee");
  static texts = /** @type {const} */ (["common", "waiting"]);
  static css = `
.card { min-block-size: 24em; grid-template-rows: auto 1fr auto; }
.card.seated, .card.held { border-block-start: 0.25em solid var(--_good); }
.main { display: grid; gap: 0.875em; align-content: start; }
.lead { font-size: 1.125em; }
.place { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 0.625em; min-block-size: 3.5em; }
.place strong { font-size: clamp(2.25em, 1.6em + 4cqi, 3.5em); line-height: 1.15; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.steps { display: grid; grid-template-columns: repeat(3, 1fr); gap: 0.5em; font-size: 0.875em; color: var(--_quiet); }
.steps li { padding-block-start: 0.5em; border-block-start: 0.25em solid var(--_track); }
.steps .done { border-color: var(--_good); }
.steps [aria-current] { border-color: var(--_accent); color: var(--_ink); font-weight: 600; }
.foot { display: grid; gap: 0.875em; }
`;

  /** @type {State} */
  #state = "connecting";
  /** @type {import("./types.js").Waiting | null} */
  #place = null;
  /** @type {import("./types.js").Refresh | null} */
  #hold = null;
  /** @type {import("./types.js").StopReason | "no_token" | "host" | null} */
  #stop = null;
  /** @type {import("./types.js").Ended | null} */
  #ended = null;
  /** @type {import("./types.js").Connection} */
  #connection = { state: "connecting" };
  #seatLimit = 0;
  /** @type {number | null} when it takes the held seat; null: the page does it itself */
  #takeAt = null;
  #toldAt = 0; // the place, with its estimate
  #unavailable = false; // was told
  #joined = true; // nothing was told on this connection yet
  #first = true;
  #heading = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #reload;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;

  /** What it shows. */
  get state() {
    return this.#state;
  }

  /** @param {import("./client.js").CapacityClient} client */
  listen(client) {
    this.hear("error", ({ code }) => {
      if (code === "unavailable") this.#disturbed({ state: "reconnecting", reason: code });
      else this.#calm(); // whatever else it refuses, it answers
    });
    this.hear("seated", (seated) => {
      this.#seatLimit = seated.seat_limit;
      const news = this.#reached("seated") || this.#joined;
      this.#joined = false;
      if (news) this.tell("seated", seated);
    });
    this.hear("waiting", (waiting) => {
      this.#place = waiting;
      this.#joined = false;
      this.#toldAt = performance.now();
      if (this.#state === "admitted") this.#clear();
      else this.#reached("waiting");
      this.tell("waiting", waiting);
    });
    this.hear("refresh", (refresh) => this.#held(refresh));
    this.hear("seat_limit", ({ seat_limit }) => {
      this.#seatLimit = seat_limit;
      this.update();
    });
    this.#seatLimit = client.latest("seat_limit")?.seat_limit ?? this.#seatLimit;
    this.hear("ended", (ended) => (this.#ended = ended));
    this.hear("connection", (connection) => {
      if (connection.stop !== undefined) this.#stopped(connection.stop);
      else if (connection.state !== "connected") this.#disturbed(connection);
      else if (STANDS.some((type) => client.latest(type) !== undefined)) this.#calm(); // it was there all the time
      else this.#joined = true;
      this.#connection = connection;
      this.update();
    });
    this.#show(this.#state);
    this.every(() => this.#state === "held" && this.update(), 250);
    this.every(() => this.#state === "waiting" && this.update(), 10_000);
    if (!this.hasToken) this.#stopped("no_token");
    else if (client.claims?.role === "host") this.#stopped("host");
  }

  reset() {
    this.#state = "connecting";
    this.#place = this.#hold = this.#stop = this.#ended = null;
    this.#connection = { state: "connecting" };
  }

  disconnectedCallback() {
    this.#clear();
    super.disconnectedCallback();
  }

  #clear() {
    clearTimeout(this.#reload);
    this.#calm();
  }

  /** The service can be used. */
  #calm() {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#unavailable = false;
    this.#connection = { state: "connected" };
    this.update();
  }

  /** @param {State} state */
  #show(state) {
    const news = state !== this.#state;
    this.#state = state;
    this.setAttribute("state", state);
    this.update();
    return news;
  }

  /** The server has said where its reader stands. @param {"seated" | "waiting" | "held"} state */
  #reached(state) {
    this.#clear();
    this.#stop = null;
    const news = this.#show(state);
    if (this.t !== null) this.#announce(news);
    return news;
  }

  /** @param {boolean} news */
  #announce(news) {
    const t = /** @type {import("./texts.js").Texts} */ (this.t);
    const title = this.#title(t);
    if (this.#state !== "waiting" || this.#place === null) {
      if (news && this.#state !== "connecting") this.announce(this.#state === "held" ? `${title}. ${t.say(this.hasAttribute("claim") ? "claim_held" : "held_next")}` : title);
      return;
    }
    const near = this.#place.position <= NEAR_POSITIONS && !this.hasAttribute("hide-position");
    this.announce(`${t.say(`waiting_${this.#place.reason}`)} ${this.#placeText(t)}`, news || near ? 0 : QUIET_MS);
  }

  /** The service cannot be used: once that has lasted, the page is told, and does what it is for. @param {import("./types.js").Connection} connection */
  #disturbed(connection) {
    this.#connection = connection;
    this.update();
    if (this.#unavailable || this.#patience !== undefined || this.#state === "stopped") return;
    const seconds = Number(this.getAttribute("unavailable-after") ?? UNAVAILABLE_SECONDS);
    this.#patience = setTimeout(() => this.#ask(), seconds * 1_000);
  }

  /**
   * It has lasted. A connection that is there is asked first: when a store comes back, the server tells nobody who stands
   * as before. An answer, now or then, ends the disturbance.
   */
  #ask() {
    const asked = this.#state !== "held" && this.client.send("claim");
    this.#patience = setTimeout(() => this.#giveUp(), asked ? PROBE_MS : 0);
  }

  #giveUp() {
    this.#unavailable = true;
    const admit = this.getAttribute("on-unavailable") === "admit" && this.#state !== "seated";
    if (this.tell("unavailable", { admit }) && admit) this.#show("admitted");
    this.update();
  }

  /** @param {import("./types.js").Refresh} refresh */
  #held(refresh) {
    this.#hold = refresh;
    const admitted = this.#state === "admitted";
    if (!admitted) this.#reached("held");
    else this.#clear();
    this.#takeAt = null;
    if (!this.tell("refresh", refresh)) return;
    const delay_ms = Math.random() * refresh.spread_ms;
    this.#takeAt = performance.now() + delay_ms;
    this.#reload = setTimeout(() => this.#take(admitted), delay_ms);
  }

  /**
   * Takes the held seat: by a reload, whose new connection takes it, or in place. Also in place where a reload would
   * leave its reader with a browser's error page, or with a token that has expired.
   */
  async #take(inPlace = false) {
    clearTimeout(this.#reload);
    const hold = this.#hold;
    const reload = !inPlace && !this.hasAttribute("claim") && (await this.#canReload());
    const still = this.isConnected && hold === this.#hold && this.#state !== "stopped";
    if (reload && still) {
      location.reload();
      return;
    }
    keep();
    if (still) this.client.send("claim"); // without a connection the next one takes it
  }

  async #canReload() {
    const url = this.tokenUrl;
    if (url === null && expiresWithin(await this.client.token())) return false;
    try {
      const page = fetch(location.pathname + location.search, { cache: "no-cache", signal: AbortSignal.timeout(PROBE_MS) });
      await (url === null || handOver(this.client, url));
      return (await page).ok;
    } catch {
      return false;
    }
  }

  /** @param {import("./types.js").StopReason | "no_token" | "host"} stop */
  #stopped(stop) {
    this.#clear();
    this.#stop = stop;
    const news = this.#show("stopped");
    this.tell("stopped", { reason: stop, ended: this.#ended?.reason ?? null });
    if (this.t !== null) this.#announce(news);
  }

  #again() {
    this.#ended = null;
    this.#stop = null;
    this.#show("connecting");
    this.client.connect();
  }

  /** Gives the seat or place up. Without a connection nobody can be told, and it goes back when its time is over. */
  leave() {
    // A connection that does not answer is none.
    if (this.client.send("leave")) setTimeout(() => this.#state !== "stopped" && this.isConnected && this.#left(), PROBE_MS);
    else this.#left();
  }

  #left() {
    this.client.disconnect();
    this.#stopped("left");
  }

  /** @param {import("./texts.js").Texts} t */
  #title(t) {
    if (this.#state !== "stopped") return t.say(`${this.#state}_title`);
    return t.say(this.#ended !== null ? "ended_title" : `stopped_${this.#stop}_title`);
  }

  /** @param {import("./texts.js").Texts} t */
  #placeText(t) {
    if (this.#place === null || this.hasAttribute("hide-position")) return "";
    const { position, reason } = this.#place;
    return position > 1 ? t.say("place", { position }) : t.say(reason === "not_started" ? "first" : "next");
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const state = this.#state;
    const title = this.#title(t);
    const hidden = this.hasAttribute("hide-position");
    const big = state === "waiting" ? this.#placeText(t) : "";
    if (this.#first && state !== "connecting") {
      this.#first = false;
      this.#announce(true);
    }
    const heading = big || title;
    if (heading !== this.#heading) this.tell("change", { state, heading: (this.#heading = heading) });
    const card = h(
      "section",
      { class: `card ${state}`, part: "card", "data-key": state, "aria-labelledby": "title" },
      h("div", {}, h("slot", { name: "logo" })),
      h("div", { class: "main" }, h("h1", { id: "title", tabindex: "-1" }, h("slot", { name: `${state}-title` }, title)), ...this.#main(t, hidden)),
      this.#foot(t),
    );
    return [state === "seated" || state === "admitted" ? h("slot", { name: "seated", "data-key": state }, card) : card];
  }

  /** @param {import("./texts.js").Texts} t @param {boolean} hidden */
  #main(t, hidden) {
    switch (this.#state) {
      case "waiting":
        return this.#waiting(t, hidden);
      case "held":
        return this.#holding(t);
      case "seated":
        return [
          h("p", { class: "lead" }, this.client.claims?.name ? t.say("welcome", { name: this.client.claims.name }) : t.say("in_webinar")),
          h("p", { class: "quiet" }, t.say("seated_room", { n: this.#seatLimit })),
        ];
      case "stopped":
        return [
          h("p", { class: "lead", part: "reason" }, t.say(this.#ended !== null ? `ended_${this.#ended.reason}` : `stopped_${this.#stop}_text`)),
          h("slot", { name: "stopped-info" }),
        ];
      default:
        return [h("p", { class: "lead" }, t.say(this.#unavailable && this.#state === "connecting" ? "unavailable_text" : `${this.#state}_text`))];
    }
  }

  /** @param {import("./texts.js").Texts} t @param {boolean} hidden */
  #waiting(t, hidden) {
    const { reason, waiting, eta_seconds } = /** @type {import("./types.js").Waiting} */ (this.#place);
    const eta = (eta_seconds ?? 0) - (performance.now() - this.#toldAt) / 1_000; // none once its time has passed
    return [
      h("p", { class: "lead", part: "reason" }, t.say(`waiting_${reason}`)),
      !hidden &&
        h(
          "p",
          { class: "place", part: "place" },
          h("strong", { part: "position" }, this.#placeText(t)),
          h("span", { class: "quiet", part: "waiting" }, waiting > 1 ? t.say("in_line", { n: waiting }) : ""),
        ),
      h("p", { class: "quiet tall", part: "eta" }, eta > 0 ? t.say("eta", { duration: t.duration(eta) }) : ""),
      this.#steps(t),
      h("p", {}, `${t.say(this.hasAttribute("claim") ? "claim_next" : `next_${reason}`)} ${t.say("waiting_keep")}`),
      h("slot", { name: "waiting-info" }),
    ];
  }

  /** @param {import("./texts.js").Texts} t */
  #holding(t) {
    const { reason, held_until } = /** @type {import("./types.js").Refresh} */ (this.#hold);
    const claim = this.hasAttribute("claim");
    const seconds = this.#takeAt === null ? 0 : Math.max(0, Math.ceil((this.#takeAt - performance.now()) / 1_000));
    const left = seconds > 0 ? t.say(claim ? "claim_seconds" : "seconds_left", { n: seconds }) : claim ? "" : t.say("refreshing");
    const next = this.#takeAt === null ? "" : t.say(claim ? "claim_held" : "held_next");
    return [
      h("p", { class: "lead", part: "reason" }, t.say(`held_${reason}`)),
      this.#takeAt !== null &&
        h(
          "p",
          { class: "place", part: "place" },
          h("strong", { part: "countdown" }, seconds > 0 ? t.number(seconds) : t.say("now")),
          h("span", { class: "quiet" }, left),
        ),
      this.#steps(t),
      h("p", {}, `${next} ${t.say("held_until", { time: t.date(held_until, "time") })}`),
    ];
  }

  /** Where its reader is on the way in. @param {import("./texts.js").Texts} t */
  #steps(t) {
    const now = STEPS.indexOf(/** @type {any} */ (this.#state));
    const step = (/** @type {string} */ name, /** @type {number} */ index) =>
      h("li", { class: index < now ? "done" : "", "aria-current": index === now ? "step" : null }, t.say(`step_${name}`));
    return h("ol", { class: "steps", part: "steps" }, ...STEPS.map(step));
  }

  /** @param {import("./texts.js").Texts} t */
  #foot(t) {
    const state = this.#state;
    const again = this.#stop === null ? undefined : AGAIN[this.#stop];
    const kept = state === "seated" ? t.say("kept_seat") : state === "waiting" || state === "held" ? t.say("kept_place") : "";
    const button = (/** @type {string} */ key, /** @type {string} */ look, /** @type {() => void} */ onclick) =>
      h("button", { type: "button", class: look, part: "button", onclick }, t.say(key));
    return h(
      "div",
      { class: "foot" },
      h(
        "p",
        { class: "actions" },
        state === "waiting" && button("leave_line", "", () => this.leave()),
        state === "seated" && button("leave_webinar", "", () => this.leave()),
        state === "held" && this.#takeAt !== null && button(this.hasAttribute("claim") ? "claim_now" : "refresh_now", "primary", () => this.#take()),
        again !== undefined && button(again, "primary", () => this.#again()),
        this.#stop === "host" && h("a", { class: "button primary", href: new URL(`host?lang=${t.language}#${this.getAttribute("token")}`, this.server).href }, t.say("go_host")),
      ),
      state !== "stopped" && connectionLine(t, this.#connection, kept),
    );
  }
}
