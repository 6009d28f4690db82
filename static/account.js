// @ts-check
/**
 * `<capacity-account>`: billing details of an account, for hosts who may buy: its plan and how to change it, the add-on,
 * what is scheduled, what is owed, and the invoices. `support-url` is the link beside the downgrade.
 */

import { codeOf, Desk, DeskError, refusal } from "./desk.js";
import { CapacityElement, h } from "./element.js";

/** @typedef {import("./desk.js").Entry} Entry */
/** @typedef {{ id: string, at: string, state: "paid" | "invoiced" | "declined", lines: Entry[], amount: number, currency: string }} Invoice */

const INVOICES_SHOWN = 12;

export class Account extends CapacityElement {
  static live = false; // a host who connects opens the room
  static texts = /** @type {const} */ (["common", "desk", "account"]);
  static css = `
.cards { display: grid; gap: 1em; }
.facts { display: grid; }
.facts > div { display: grid; gap: 0.25em 1em; padding-block: 0.75em; border-block-start: 1px solid var(--_line); align-items: center; }
.facts > div:first-child { border: 0; }
dd { overflow-wrap: anywhere; }
.facts dt { color: var(--_quiet); }
.facts strong { font-size: 1.125em; }
.notice { padding: 0.75em 1em; border-inline-start: 0.25em solid var(--_warn); background: var(--_track); border-radius: 0.375em; display: grid; gap: 0.5em; }
.notice.trouble { border-color: var(--_bad); }
.scroll { overflow-x: auto; }
table { overflow-wrap: normal; border-collapse: collapse; inline-size: 100%; font-size: 0.9375em; }
th, td { text-align: start; vertical-align: top; padding-block: 0.5em; padding-inline-end: 0.75em; border-block-end: 1px solid var(--_line); }
td:last-child, th:last-child { text-align: end; padding-inline-end: 0; white-space: nowrap; }
caption { text-align: start; }
@container (min-width: 36em) { .facts > div { grid-template-columns: 10em 1fr; } .facts .actions { grid-column: 2; } }
`;

  desk = new Desk(this);
  /** @type {import("./desk.js").Account | null} */
  #account = null;
  /** @type {import("./desk.js").Plan[]} */
  #plans = [];
  /** @type {Entry[] | null} */
  #ledger = null;
  #trouble = ""; // the code of what was refused last
  #more = false;
  #asked = 0; // counts what was asked, so that an answer which was overtaken is not shown

  /** @param {import("./client.js").CapacityClient} _client */
  listen(_client) {
    this.load();
    this.during(document, "visibilitychange", () => document.hidden || this.load()); // paid in another tab, it may be
    this.during(window, "focus", () => this.load()); // or in another window
  }

  constructor() {
    super();
    this.addEventListener("capacity-purchased", () => this.load());
  }

  /** @param {import("./plan-dialog.js").Purpose} purpose */
  async #change(purpose) {
    try {
      const dialog = (await import("./plan-dialog.js")).PlanDialog.of(this);
      dialog.changed = () => this.load();
      dialog.open(purpose);
    } catch (error) {
      this.#fail(error); // the network did; the next press tries again
    }
  }

  /** Reads everything anew. */
  async load() {
    const asked = ++this.#asked;
    try {
      if (!this.hasToken) throw new DeskError("no_token", "");
      const claims = this.client.claims ?? (await this.client.token(), this.client.claims);
      if (claims?.role === "attendee") throw new DeskError("forbidden", "");
      const [account, { plans }] = await Promise.all([this.desk.account(), this.desk.plans()]);
      if (asked !== this.#asked) return;
      this.#account = account;
      this.#plans = plans;
      this.#trouble = "";
      const ledger = account.managed_by === "desk" ? await this.desk.ledger() : [];
      if (asked !== this.#asked) return;
      this.#ledger = ledger;
      this.update();
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#trouble = codeOf(error);
    this.update();
  }

  /** @param {() => Promise<unknown>} action */
  async #do(action) {
    try {
      await action();
      await this.load();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #download() {
    const link = /** @type {HTMLAnchorElement} */ (h("a", { href: URL.createObjectURL(await this.desk.csv()), download: `${this.#account?.account}-invoices.csv` }));
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const account = this.#account;
    const cards = account === null ? [this.#empty(t)] : [this.#details(t, account), account.managed_by === "desk" && this.#invoices(t)];
    return [h("div", { class: "cards" }, ...cards)];
  }

  /** @param {import("./texts.js").Texts} t */
  #empty(t) {
    const again = h("button", { type: "button", part: "button", onclick: () => this.load() }, t.say("try_again"));
    return h(
      "section",
      { class: "card", part: "card", "data-key": "empty" },
      h("h1", {}, t.say("billing_details")),
      this.#trouble === "" && h("p", { class: "quiet" }, t.say("loading")),
      refusal(t, this.#trouble),
      ["unreachable", "unavailable"].includes(this.#trouble) && h("p", { class: "actions" }, again),
      this.#trouble === "account_not_managed" && this.#elsewhereLink(t),
    );
  }

  /** @param {import("./texts.js").Texts} t @param {import("./desk.js").Account} account */
  #details(t, account) {
    return h(
      "section",
      { class: "card", part: "card", "data-key": "details", "aria-labelledby": "details" },
      h("h1", { id: "details" }, t.say("billing_details")),
      refusal(t, this.#trouble),
      ...this.#notices(t, account),
      account.managed_by === "desk" ? this.#facts(t, account) : this.#elsewhere(t, account),
    );
  }

  /** What must be known or done now. @param {import("./texts.js").Texts} t @param {import("./desk.js").Account} account */
  #notices(t, { status, overdue, payment, scheduled_change, next_charge }) {
    const notices = [];
    if (overdue !== null) notices.push(h("div", { class: "notice trouble", "data-key": "overdue" }, h("p", {}, t.say("overdue", { date: t.date(overdue.seats_until) }))));
    if (status === "suspended") notices.push(h("div", { class: "notice trouble", "data-key": "suspended" }, h("p", {}, t.say("suspended"))));
    if (payment !== null) {
      const url = payment.action_url === null ? null : this.desk.link(payment.action_url);
      notices.push(
        h(
          "div",
          { class: "notice", "data-key": "payment" },
          h("p", {}, t.say("payment_waits", { price: t.price(payment.amount) })),
          h(
            "p",
            { class: "actions" },
            url !== null && h("a", { class: "button primary", href: url, target: "_blank", rel: "noopener" }, t.say("confirm_open")),
            h("button", { type: "button", onclick: () => this.#do(() => this.desk.giveUpPayment()) }, t.say("give_up")),
          ),
        ),
      );
    }
    if (scheduled_change !== null) {
      const { plan, concurrent_sessions, effective_at } = scheduled_change;
      const values = { plan: this.#name(plan), n: concurrent_sessions, date: t.date(effective_at), price: next_charge === null ? "" : t.price(next_charge) };
      notices.push(
        h(
          "div",
          { class: "notice", "data-key": "scheduled", part: "scheduled" },
          h("p", {}, t.say("scheduled", values)),
          h("p", { class: "actions" }, h("button", { type: "button", onclick: () => this.#do(() => this.desk.takeBack()) }, t.say("take_back"))),
        ),
      );
    }
    return notices;
  }

  /** @param {string} id */
  #name(id) {
    return this.#plans.find((plan) => plan.id === id)?.name ?? id;
  }

  /** @param {import("./texts.js").Texts} t @param {import("./desk.js").Account} account */
  #facts(t, account) {
    const { seats, concurrent_sessions, period, next_charge, promo_codes } = account;
    const present = this.#plans.find(({ id }) => id === account.plan);
    const trial = present?.trial === true;
    const busy = account.status === "renewing" || account.payment !== null;
    const change = (/** @type {string} */ key, /** @type {import("./plan-dialog.js").Purpose} */ purpose, look = "") =>
      h("button", { type: "button", class: look, part: "button", disabled: busy, onclick: () => this.#change(purpose) }, t.say(key));
    const support = this.getAttribute("support-url");
    const row = (/** @type {string} */ key, /** @type {(Node | string)[]} */ value, /** @type {(Node | false | null)[]} */ ...actions) =>
      h("div", { "data-key": key }, h("dt", {}, t.say(key)), h("dd", { part: key }, ...value), actions.length > 0 && h("dd", { class: "actions" }, ...actions));
    return h(
      "dl",
      { class: "facts" },
      row("account", [account.account]),
      row(
        "plan_size",
        [h("strong", {}, this.#name(account.plan)), ` · ${t.say("plan_seats", { n: seats })}`],
        change("upgrade", "upgrade", "primary"),
        !trial && account.status !== "suspended" && change("downgrade", "downgrade"), // without seats every plan is more
        !trial && support !== null && /^(https?|mailto):/.test(support) && h("a", { href: support, target: "_blank", rel: "noopener noreferrer", part: "support" }, t.say("support")),
      ),
      row("sessions", [t.say("sessions_now", { n: concurrent_sessions })], !trial && present?.concurrent_session_price !== null && change("sessions_change", "sessions")),
      period !== null && row("period", [t.say("period_dates", { from: t.date(period.starts_at), to: t.date(period.ends_at) })]),
      period !== null && next_charge !== null && row("next_charge", [t.say("charge_on", { price: t.price(next_charge), date: t.date(period.ends_at) })]),
      promo_codes.length > 0 && row("promo_codes", [promo_codes.join(", ")]),
    );
  }

  /** An account whose plan changes come from elsewhere. @param {import("./texts.js").Texts} t @param {import("./desk.js").Account} account */
  #elsewhere(t, account) {
    const row = (/** @type {string} */ key, /** @type {string} */ value) => h("div", {}, h("dt", {}, t.say(key)), h("dd", { part: key }, value));
    return h(
      "div",
      {},
      h("dl", { class: "facts" }, row("account", account.account), row("plan_size", t.say("plan_seats", { n: account.seats })), row("sessions", t.say("sessions_now", { n: account.concurrent_sessions }))),
      h("p", {}, t.say("elsewhere")),
      this.#elsewhereLink(t),
    );
  }

  /** @param {import("./texts.js").Texts} t */
  #elsewhereLink(t) {
    const url = this.getAttribute("upgrade-url");
    return url !== null && /^https?:/.test(url) && h("p", { class: "actions" }, h("a", { class: "button primary", href: url, target: "_blank", rel: "noopener noreferrer" }, t.say("upgrade")));
  }

  /** @param {import("./texts.js").Texts} t */
  #invoices(t) {
    const invoices = invoicesOf(this.#ledger ?? []);
    const shown = this.#more ? invoices : invoices.slice(0, INVOICES_SHOWN);
    const head = ["invoice_date", "invoice_what", "invoice_amount"].map((key) => h("th", { scope: "col" }, t.say(key)));
    return h(
      "section",
      { class: "card", part: "card", "data-key": "invoices", "aria-labelledby": "invoices" },
      h("h2", { id: "invoices" }, t.say("invoices")),
      shown.length === 0
        ? h("p", { class: "quiet", "data-key": "none" }, t.say(this.#ledger === null ? "loading" : "no_invoices"))
        : h(
            "div",
            { class: "scroll", "data-key": "some", tabindex: "0", role: "group", "aria-labelledby": "invoices" },
            h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...shown.map((invoice) => this.#invoice(t, invoice)))),
          ),
      h(
        "p",
        { class: "actions" },
        shown.length < invoices.length && h("button", { type: "button", onclick: () => ((this.#more = true), this.update()) }, t.say("invoices_all", { n: invoices.length })),
        shown.length > 0 && h("button", { type: "button", "data-key": "csv", onclick: () => this.#do(() => this.#download()) }, t.say("download")),
      ),
    );
  }

  /** @param {import("./texts.js").Texts} t @param {Invoice} invoice */
  #invoice(t, { id, at, state, lines, amount, currency }) {
    return h(
      "tr",
      { "data-key": id },
      h("td", {}, t.date(at, "medium")),
      h("td", {}, ...lines.map((line) => h("div", {}, `${t.say(`line_${line.line}`)} · ${t.price({ amount: line.amount ?? 0, currency })}`))),
      h("td", {}, h("strong", {}, t.price({ amount, currency })), h("div", { class: "quiet" }, t.say(`invoice_${state}`))),
    );
  }
}

/** What was charged, the newest first. @param {Entry[]} ledger @returns {Invoice[]} */
function invoicesOf(ledger) {
  /** @type {Map<string, Invoice>} */
  const invoices = new Map();
  for (const { invoice: id, kind, at, ...entry } of ledger) {
    if (id === undefined || !["line", "payment", "invoiced", "declined"].includes(kind)) continue;
    const found = invoices.get(id) ?? { id, at, state: "paid", lines: [], amount: 0, currency: entry.currency ?? "USD" };
    invoices.set(id, found);
    if (kind === "line") {
      found.lines.push({ at, kind, ...entry });
      found.amount += entry.amount ?? 0;
    } else {
      found.state = kind === "payment" ? "paid" : kind === "invoiced" ? "invoiced" : "declined";
      if (found.lines.length === 0) found.amount = entry.amount ?? 0;
    }
  }
  return [...invoices.values()].reverse();
}
