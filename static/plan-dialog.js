// @ts-check
/**
 * The dialog in which a plan is changed: the plans, what the chosen one costs today and from when the full price, what
 * it voids, and then the purchase with all that may become of it. For the banner and for the account page.
 */

import { codeOf, Desk, DeskError, refusal } from "./desk.js";
import { CapacityElement, h } from "./element.js";

const POLL_MS = 1_500;
const UNSURE_TRIES = 4; // an answer that got lost is asked for again before its reader is troubled
const UNSURE = ["unreachable", "unavailable", "too_many_requests"]; // another time the same may go well

/**
 * @typedef {import("./desk.js").Plan} Plan
 * @typedef {"upgrade" | "downgrade" | "sessions"} Purpose
 * @typedef {"loading" | "choose" | "buying" | "confirm" | "unsure" | "done"} Step
 */

export class PlanDialog extends CapacityElement {
  static live = false;
  static texts = /** @type {const} */ (["common", "desk"]);
  static css = `
.content, .plans { display: grid; gap: 0.875em; }
.plans { gap: 0.5em; align-content: start; }
@media (min-width: 60em) { dialog:has(.choose, .loading) { inline-size: min(58em, calc(100vw - 1.5em)); } .choose { grid-template-columns: 7fr 6fr; } }
.actions .bad { flex: 1 1 100%; }
.actions { justify-content: flex-end; position: sticky; inset-block-end: calc(-1 * clamp(1em, 4vw, 1.75em)); margin-block-end: calc(-1 * clamp(1em, 4vw, 1.75em)); padding-block: 0.75em clamp(1em, 4vw, 1.75em); background: var(--_surface); }
.plan strong:last-child { white-space: nowrap; }
.plan { display: grid; grid-template-columns: auto 1fr auto; gap: 0 0.75em; align-items: center; padding: 0.5em 0.875em; border: 1px solid var(--_line); border-radius: 0.625em; cursor: pointer; }
.plan:has(:checked) { border-color: var(--_accent); box-shadow: inset 0 0 0 1px var(--_accent); }
.plan:has(:focus-visible) { outline: 3px solid var(--_accent); outline-offset: 2px; }
.plan input { inline-size: 1.125em; block-size: 1.125em; accent-color: var(--_accent); margin: 0; }
.pair { display: flex; flex-wrap: wrap; gap: 0 0.75em; align-items: baseline; }
.summary { display: grid; gap: 0.375em; align-content: start; min-block-size: 10em; padding: 0.875em; border-radius: 0.625em; background: var(--_track); }
.total { display: flex; justify-content: space-between; gap: 1em; font-size: 1.25em; font-weight: 650; }
.lines { display: grid; gap: 0.125em; font-size: 0.9375em; }
.lines li { display: flex; justify-content: space-between; gap: 1em; }
.warnings li { padding-inline-start: 0.75em; border-inline-start: 0.25em solid var(--_warn); }
label.field { display: flex; flex-wrap: wrap; gap: 0.5em; align-items: center; justify-content: space-between; }
select, input[type="number"] { font: inherit; color: inherit; background: var(--_surface); min-block-size: 2.5em; padding-inline: 0.5em; border: 1px solid var(--_quiet); border-radius: 0.5em; max-inline-size: 100%; }
`;

  #desk = new Desk(this);
  /** @type {Purpose} */
  #purpose = "upgrade";
  /** @type {Step} */
  #step = "loading";
  /** @type {string | undefined} the plan that is chosen at first */
  #first;
  /** @type {Plan[]} */
  #plans = [];
  /** @type {string | null} */
  #payments = null;
  /** @type {import("./desk.js").Account | null} */
  #account = null;
  /** @type {import("./desk.js").Change} */
  #change = {};
  /** @type {import("./desk.js").Quote | null} */
  #quote = null;
  /** @type {import("./desk.js").Purchase | null} */
  #purchase = null;
  /** @type {string | null} where the payment is confirmed */
  #waitsAt = null;
  #method = "good"; // of the test card
  #key = "";
  #trouble = ""; // the code of what was refused last
  #asked = 0; // counts what was asked, so that an answer which was overtaken is not shown
  #polls = 0;
  #open = false;

  /** @type {CapacityElement | null} */
  owner = null;
  /** Called when it closes, and when something became of a purchase afterwards: what its owner shows may be old. */
  changed = () => {};

  /** The one of an element, which shares its connection and hears what came of it. @param {CapacityElement} owner */
  static of(owner) {
    const found = owner.root.querySelector("capacity-plan-dialog");
    if (found !== null) return /** @type {PlanDialog} */ (found);
    if (customElements.get("capacity-plan-dialog") === undefined) customElements.define("capacity-plan-dialog", PlanDialog);
    const made = new PlanDialog();
    made.owner = owner;
    made.lang = owner.t?.language ?? "";
    made.setAttribute("exportparts", "dialog, button, summary, due, next, warnings, refusal");
    owner.root.append(made);
    return made;
  }

  /** @returns {Element} */
  get source() {
    return this.owner?.source ?? this;
  }

  /** @param {Purpose} purpose @param {string} [plan] the one that is chosen at first @returns {Promise<void>} */
  async open(purpose, plan) {
    const asked = ++this.#asked;
    this.#purpose = purpose;
    this.#first = plan;
    this.#step = "loading";
    this.#trouble = "";
    this.#quote = this.#purchase = null;
    this.#open = true;
    this.update();
    try {
      const [{ plans, payments }, account] = await Promise.all([this.#desk.plans(), this.#desk.account()]);
      if (asked !== this.#asked) return;
      this.#payments = payments;
      this.#account = account;
      if (account.managed_by !== "desk") throw new DeskError("account_not_managed");
      if (account.payment !== null) return this.#waitFor(account.payment);
      this.#plans = choices(plans, account, purpose);
      this.#step = "choose";
      const first = this.#plans.find(({ id }) => id === plan) ?? this.#plans[0];
      if (purpose === "sessions") this.#choose({ concurrent_sessions: account.concurrent_sessions + 1 });
      else if (first !== undefined) this.#choose({ plan: first.id });
    } catch (error) {
      if (asked === this.#asked) this.#fail(error, "loading");
    }
    this.update();
  }

  close() {
    this.#asked += 1;
    this.#open = false;
    this.update();
    this.changed();
  }

  #closed() {
    if (this.#open) this.close();
    // The button that opened it may be gone: its reader goes on where the owner begins.
    if (this.root.activeElement !== null || document.activeElement === document.body) /** @type {HTMLElement | null | undefined} */ (this.owner?.root.querySelector("[tabindex='-1']"))?.focus();
  }

  drawn() {
    const dialog = /** @type {HTMLDialogElement} */ (this.root.querySelector("dialog"));
    if (this.#open && !dialog.matches(":modal")) {
      dialog.removeAttribute("open"); // moved with its owner it is open, and no dialog any more
      dialog.showModal();
    } else if (!this.#open && dialog.open) dialog.close();
  }

  /** @param {unknown} error @param {Step} step */
  #fail(error, step) {
    this.#trouble = codeOf(error);
    this.#step = step;
  }

  /** Chooses for the reader, to whom what was refused before matters no more. @param {import("./desk.js").Change} change */
  #wish(change) {
    this.#trouble = "";
    this.#choose(change);
  }

  /** @param {import("./desk.js").Change} change */
  async #choose(change) {
    const asked = ++this.#asked;
    this.#change = change;
    this.#quote = null;
    this.update();
    try {
      const quote = await this.#desk.quote(change);
      if (asked !== this.#asked) return;
      this.#quote = quote;
      this.#key = freshKey();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#fail(error, "choose");
    }
    this.update();
  }

  /**
   * Buys what is shown; or asks again how a purchase stands, with the same key: it is paid once.
   * @param {boolean} [givenUp] whether it was to be given up
   */
  async #buy(givenUp = false) {
    const asked = ++this.#asked;
    if (!givenUp) this.#step = "buying";
    this.#trouble = "";
    this.#polls = 0;
    this.update();
    const quote = /** @type {import("./desk.js").Quote} */ (this.#quote);
    for (let lost = 0; asked === this.#asked; ) {
      try {
        const purchase = await this.#desk.buy(quote.id, this.#key, this.#payments === "test" && quote.due_now.amount > 0 ? this.#method : undefined);
        if (asked !== this.#asked) {
          if (purchase.status === "completed") this.tell("purchased", purchase); // closed meanwhile, and bought all the same
          return this.changed();
        }
        lost = 0;
        this.#purchase = purchase;
        this.#waitsAt = purchase.action_url;
        this.#step = purchase.status === "completed" ? "done" : purchase.status === "payment_action_required" ? "confirm" : "buying";
      } catch (error) {
        if (asked !== this.#asked) return this.changed();
        const code = codeOf(error);
        const unsure = !(error instanceof DeskError && error.refused);
        if (!unsure || ++lost === UNSURE_TRIES) {
          this.#fail(error, unsure ? "unsure" : "choose");
          if (!unsure) this.#key = freshKey();
          if (givenUp && code === "payment_declined") this.#trouble = "given_up";
          if (code === "quote_stale" || code === "unknown_quote") return this.#lookAgain();
        }
      }
      this.#polls += 1;
      this.update();
      if (this.#step === "done") this.tell("purchased", this.#purchase);
      if (this.#step !== "buying" && this.#step !== "confirm") return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** A quote that is not good any more: another payment waits, or there is a fresh price, to be looked at. */
  async #lookAgain() {
    const asked = ++this.#asked;
    this.#quote = null;
    this.update();
    const account = await this.#desk.account().catch(() => null);
    if (asked !== this.#asked) return;
    if (account?.payment) return this.#waitFor(account.payment);
    await this.#choose(this.#change);
  }

  /**
   * A payment that another dialog, or another host, has left to be confirmed: nothing else can be bought until it is
   * decided.
   * @param {{ action_url: string | null }} payment
   * @returns {Promise<void>}
   */
  async #waitFor({ action_url }) {
    const asked = ++this.#asked;
    this.#quote = null;
    this.#waitsAt = action_url;
    this.#step = "confirm";
    this.update();
    while (asked === this.#asked) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const account = asked === this.#asked ? await this.#desk.account().catch(() => null) : null;
      if (asked !== this.#asked) return;
      if (account !== null && account.payment === null) {
        this.changed();
        return this.open(this.#purpose, this.#first);
      }
    }
  }

  /** Gives the payment up, and asks what became of it: its owner, or the bank, may have been quicker. */
  async #giveUp() {
    const asked = ++this.#asked;
    try {
      await this.#desk.giveUpPayment();
      if (asked === this.#asked) await (this.#quote === null ? this.open(this.#purpose, this.#first) : this.#buy(true));
      else this.changed();
    } catch (error) {
      if (asked === this.#asked) this.#fail(error, "unsure");
    }
    this.update();
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const step = this.#step;
    const content = {
      loading: () => [refusal(t, this.#trouble) ?? h("p", { class: "quiet" }, t.say("loading"))],
      choose: () => this.#choosing(t),
      buying: () => [h("p", { role: "status" }, t.say(this.#polls > 1 ? "processing" : "buying"))],
      confirm: () => this.#confirming(t),
      unsure: () => [refusal(t, this.#trouble) ?? h("p", {}), h("p", {}, t.say("unsure"))],
      done: () => this.#done(t),
    }[step]();
    return [h(
      "dialog",
      { part: "dialog", "aria-labelledby": "change-title", onclose: () => this.#closed() },
      h("h2", { id: "change-title", tabindex: "-1", "data-key": step }, t.say(step === "done" ? "done_title" : `${this.#purpose}_title`)),
      h("div", { class: `content ${step}`, "data-key": step }, ...content),
      this.#buttons(t),
    )];
  }

  /** @param {import("./texts.js").Texts} t */
  #choosing(t) {
    const account = /** @type {import("./desk.js").Account} */ (this.#account);
    const sessions = this.#purpose === "sessions";
    return [
      sessions ? this.#sessions(t, account) : this.#list(t),
      h(
        "div",
        { class: "plans" },
        !sessions && this.#plans.length === 0 ? h("p", {}, t.say("no_plans")) : this.#summary(t),
        this.#quote !== null && this.#quote.due_now.amount > 0 && this.#how(t),
      ),
    ];
  }

  /** @param {import("./texts.js").Texts} t */
  #list(t) {
    return h(
      "fieldset",
      { class: "plans" },
      h("legend", { class: "unseen" }, t.say("plans")),
      ...this.#plans.flatMap(({ id, name, seats, price, cycle_days }, index) => [
        cycle_days !== this.#plans[index - 1]?.cycle_days && h("p", { class: "quiet" }, t.say(`per_${cycle_days}`)),
        h(
          "label",
          { class: "plan", "data-key": id },
          h("input", { type: "radio", name: "plan", value: id, checked: id === this.#change.plan, onchange: () => this.#wish({ plan: id }) }),
          h("span", { class: "pair" }, h("strong", {}, name), h("span", {}, t.say("seats_n", { n: seats }))),
          h("strong", {}, t.price(price)),
        ),
      ]),
    );
  }

  /** @param {import("./texts.js").Texts} t @param {import("./desk.js").Account} account */
  #sessions(t, account) {
    const now = account.concurrent_sessions;
    const change = (/** @type {Event} */ event) => {
      const input = /** @type {HTMLInputElement} */ (event.target);
      if (input.validity.valid) this.#wish({ concurrent_sessions: Number(input.value) });
      else {
        this.#asked += 1; // the price on the screen is that of another number
        this.#quote = null;
        this.update();
      }
    };
    return h(
      "div",
      { class: "plans" },
      h("p", {}, t.say("sessions_now", { n: now })),
      h(
        "label",
        { class: "field" },
        t.say("sessions_wanted"),
        h("input", { type: "number", min: "1", max: "100", step: "1", required: true, value: String(this.#change.concurrent_sessions), oninput: change }),
      ),
      h("p", { class: "quiet" }, t.say("sessions_rule")),
    );
  }

  /** @param {import("./texts.js").Texts} t */
  #summary(t) {
    const quote = this.#quote;
    if (quote === null) return h("div", { class: "summary", "data-key": "none" }, h("p", { class: "quiet" }, this.#trouble === "" ? t.say("loading") : ""));
    const { kind, due_now, lines, next_period, warnings } = quote;
    const from = t.date(next_period.starts_at);
    const difference = kind === "upgrade" && this.#account?.status === "active" && this.#account.period?.ends_at === next_period.starts_at;
    const full = t.say("full_price", { price: t.price(next_period), date: from });
    return h(
      "div",
      { class: "summary", part: "summary", "data-key": quote.id, role: "status" },
      h("p", { class: "total" }, h("span", {}, t.say("due_now")), h("span", { part: "due" }, t.price(due_now))),
      lines.length > 1 &&
        h("ul", { class: "lines quiet" }, ...lines.map((line) => h("li", {}, h("span", {}, t.say(`line_${line.kind}`)), h("span", {}, t.price(line))))),
      this.#purpose === "sessions" && h("p", {}, t.say("sessions_now", { n: quote.concurrent_sessions })),
      difference && h("p", { class: "quiet" }, t.say("difference", { date: from })),
      (kind === "downgrade" || this.#purpose !== "sessions") &&
        h("p", {}, kind === "downgrade" ? t.say("downgrade_when", { date: t.date(quote.effective_at) }) : t.say("upgrade_when", { n: quote.seats })),
      h("p", { part: "next" }, full),
      warnings.length > 0 && h("ul", { class: "warnings", part: "warnings" }, ...warnings.map(({ code }) => h("li", {}, t.say(`warning_${code}`)))),
    );
  }

  /** How it is paid. @param {import("./texts.js").Texts} t */
  #how(t) {
    if (this.#payments !== "test") return h("p", { class: "quiet" }, t.say(`pay_${this.#payments ?? "invoice"}`));
    const choose = (/** @type {Event} */ event) => (this.#method = /** @type {HTMLSelectElement} */ (event.target).value);
    return h(
      "label",
      { class: "field" },
      t.say("test_card"),
      h("select", { onchange: choose }, ...["good", "declined", "confirm"].map((method) => h("option", { value: method, selected: method === this.#method }, t.say(`card_${method}`)))),
    );
  }

  /** @param {import("./texts.js").Texts} t */
  #confirming(t) {
    const url = this.#waitsAt === null ? null : this.#desk.link(this.#waitsAt);
    return [
      h("p", {}, t.say(url === null ? "confirm_elsewhere" : "confirm_text")),
      url !== null && h("p", {}, h("a", { class: "button primary", href: url, target: "_blank", rel: "noopener" }, t.say("confirm_open"))),
      h("p", { class: "quiet", role: "status" }, t.say("confirm_waits")),
    ];
  }

  /** @param {import("./texts.js").Texts} t */
  #done(t) {
    const { seats, concurrent_sessions, effective_at, amount } = /** @type {import("./desk.js").Purchase} */ (this.#purchase);
    const quote = /** @type {import("./desk.js").Quote} */ (this.#quote);
    const later = quote.kind === "downgrade";
    const what = this.#purpose === "sessions" ? t.say("done_sessions", { n: concurrent_sessions }) : t.say("done_seats", { n: seats });
    return [
      h("p", {}, later ? t.say("done_later", { date: t.date(effective_at) }) : what),
      amount.amount > 0 && h("p", { class: "quiet" }, t.say(`paid_${this.#payments === "invoice" ? "invoice" : "card"}`, { price: t.price(amount) })),
    ];
  }

  /** @param {import("./texts.js").Texts} t */
  #buttons(t) {
    // A button that buys something else is another button: a press that began on the one does not end on the other.
    const button = (/** @type {string} */ text, /** @type {string} */ look, /** @type {() => void} */ onclick, disabled = false, key = "") =>
      h("button", { type: "button", class: look, part: look === "primary" ? "button primary" : "button", disabled, "data-key": key, onclick }, text);
    const close = (/** @type {string} */ key) => button(t.say(key), key === "back" ? "primary" : "", () => this.close());
    const quote = this.#quote;
    const due = quote === null ? "" : t.price(quote.due_now);
    const buy = quote?.kind === "downgrade" ? t.say("buy_downgrade") : quote === null || quote.due_now.amount === 0 ? t.say("buy_free") : t.say("buy", { price: due });
    const again = quote === null && UNSURE.includes(this.#trouble);
    const buttons = {
      loading: () => [close("close"), this.#trouble === "unreachable" && button(t.say("try_again"), "primary", () => this.open(this.#purpose, this.#first))],
      choose: () => [close("cancel"), again ? button(t.say("try_again"), "primary", () => this.#wish(this.#change)) : button(buy, "primary", () => this.#buy(), quote === null, quote?.id)],
      buying: () => [],
      confirm: () => [button(t.say("give_up"), "", () => this.#giveUp())],
      unsure: () => [close("close"), button(t.say("try_again"), "primary", () => this.#buy())],
      done: () => [close("back")],
    }[this.#step]();
    // Beside the button that did not do it, and in sight on the smallest screen.
    return h("div", { class: "actions", "data-key": this.#step }, this.#step === "choose" && refusal(t, this.#trouble), ...buttons);
  }
}

/**
 * The plans that a purpose is about, the smallest first. The account's own need not be among those on sale.
 * @param {Plan[]} plans @param {import("./desk.js").Account} account @param {Purpose} purpose
 */
function choices(plans, account, purpose) {
  const present = plans.find(({ id }) => id === account.plan);
  const currency = present?.trial ? undefined : (present?.price ?? account.next_charge)?.currency;
  const cycle = account.period?.days ?? 30;
  const starts = account.status === "overdue" || account.status === "suspended" || present?.trial;
  const less = (/** @type {Plan} */ plan) => plan.seats < account.seats || plan.cycle_days < cycle;
  const more = (/** @type {Plan} */ plan) => plan.seats > account.seats || plan.cycle_days > cycle;
  const larger = (/** @type {Plan} */ plan) => starts || (plan.id !== account.plan && !less(plan));
  const smaller = (/** @type {Plan} */ plan) => plan.id !== account.plan && less(plan) && !more(plan);
  return plans
    .filter((plan) => !plan.trial && (currency ?? plan.price.currency) === plan.price.currency && (purpose === "upgrade" ? larger(plan) : smaller(plan)))
    .sort((one, other) => one.cycle_days - other.cycle_days || one.seats - other.seats);
}

/** 128 bits; `crypto.randomUUID` is not there outside secure contexts. */
function freshKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
