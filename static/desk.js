// @ts-check
/** The billing desk over HTTP (docs/protocol.md, "HTTP"), and the dialog's way through a purchase. */

/**
 * @typedef {import("./types.js").Money} Money
 * @typedef {{ id: string, name: string, seats: number, cycle_days: 30 | 365, price: Money,
 *   concurrent_session_price: Money | null, trial: boolean }} Plan
 * @typedef {{ plan?: string, concurrent_sessions?: number }} Change
 * @typedef {{ account: string, managed_by: "desk" | "events", plan: string, seats: number, concurrent_sessions: number,
 *   version: number, status: "active" | "renewing" | "overdue" | "suspended",
 *   period: { starts_at: string, ends_at: string, days: number } | null,
 *   scheduled_change: { plan: string, concurrent_sessions: number, effective_at: string } | null, promo_codes: string[],
 *   next_charge: Money | null, payment: { amount: Money, action_url: string | null, expires_at: string } | null,
 *   overdue: { since: string, next_try_at: string | null, seats_until: string } | null }} Account
 * @typedef {{ kind: "plan" | "concurrent_sessions" | "unused" | "tax", description: string, amount: number, currency: string }} Line
 * @typedef {{ id: string, kind: "upgrade" | "downgrade", plan: string, seats: number, concurrent_sessions: number,
 *   lines: Line[], due_now: Money, next_period: Money & { starts_at: string }, effective_at: string,
 *   warnings: { code: string }[], expires_at: string }} Quote
 * @typedef {{ status: "completed" | "processing" | "payment_action_required", action_url: string | null, seats: number,
 *   concurrent_sessions: number, effective_at: string, amount: Money }} Purchase
 * @typedef {{ id: string, at: string, kind: string, invoice?: string, line?: string, description?: string, amount?: number,
 *   currency?: string }} Entry
 */

import { h } from "./element.js";

const ANSWER_MS = 15_000;
const PAGES_MAX = 20;

const REFUSALS = [400, 402, 403, 404, 409, 422]; // the desk has decided, and did nothing

/** What the desk did not do: `code` is that of the problem, or `unreachable` where nobody knows; `refused`: it decided so. */
export class DeskError extends Error {
  /** @param {string} code @param {string} [detail] @param {number} [status] */
  constructor(code, detail = "", status = 0) {
    super(detail);
    this.code = code;
    this.refused = REFUSALS.includes(status);
  }
}

/** The code of whatever went wrong. @param {unknown} error @returns {string} */
export function codeOf(error) {
  return error instanceof DeskError ? error.code : "unreachable";
}

/** What was refused, in words, or nothing for no code. @param {import("./texts.js").Texts} t @param {string} code */
export function refusal(t, code) {
  if (code === "") return null;
  const key = `problem_${code}`;
  return h("p", { class: "bad", role: "alert", part: "refusal" }, t.say(t.has(key) ? key : "problem", { code }));
}

export class Desk {
  #at;

  /** @param {{ client: import("./client.js").CapacityClient, server: string }} at an element: who asks, and whom */
  constructor(at) {
    this.#at = at;
  }

  /** @returns {Promise<Account>} */
  account() {
    return this.#ask("GET", "");
  }

  /** @returns {Promise<{ plans: Plan[], payments: "invoice" | "stripe" | "test" | null }>} */
  plans() {
    return this.#ask("GET", null);
  }

  /** @param {Change} change @returns {Promise<Quote>} */
  quote(change) {
    return this.#ask("POST", "/quotes", change);
  }

  /**
   * Buys, or asks how it stands: the same key is the same purchase, and paid once.
   * @param {string} quote @param {string} key @param {string} [method] what the gateway charges
   * @returns {Promise<Purchase>}
   */
  buy(quote, key, method) {
    return this.#ask("POST", "/purchases", { quote, payment_method: method }, { "Idempotency-Key": key });
  }

  /** @returns {Promise<Account>} */
  takeBack() {
    return this.#ask("DELETE", "/scheduled-change");
  }

  /** @returns {Promise<Account>} */
  giveUpPayment() {
    return this.#ask("DELETE", "/payment");
  }

  /** The whole ledger, in order. @returns {Promise<Entry[]>} */
  async ledger() {
    /** @type {Entry[]} */
    const entries = [];
    let after = "";
    for (let page = 0; page < PAGES_MAX; page++) {
      const answer = await this.#ask("GET", `/ledger?limit=5000${after}`);
      entries.push(...answer.entries);
      if (answer.next === null) break;
      after = `&after=${encodeURIComponent(answer.next)}`;
    }
    return entries;
  }

  /** The whole ledger as CSV, with one row of names. @returns {Promise<Blob>} */
  async csv() {
    const parts = [];
    let after = "";
    for (let page = 0; page < PAGES_MAX; page++) {
      const text = await (await this.#fetch("GET", `/ledger?format=csv&limit=5000${after}`)).text();
      const names = text.indexOf("\n") + 1;
      if (names === text.length && page > 0) break;
      parts.push(page === 0 ? text : text.slice(names));
      // The header that names the next page is not shown to pages of other origins; an entry's id stands first in its row.
      const last = text.trimEnd().split("\n").at(-1) ?? "";
      after = `&after=${encodeURIComponent(last.split(",")[0])}`;
    }
    return new Blob(parts, { type: "text/csv" });
  }

  /** An address that the desk gave, which may be a path of its server's. @param {string} url @returns {string | null} */
  link(url) {
    const address = new URL(url, this.#at.server);
    return /^https?:$/.test(address.protocol) ? address.href : null;
  }

  /** @param {string} method @param {string | null} path @param {object} [body] @param {Record<string, string>} [headers] @returns {Promise<any>} */
  async #ask(method, path, body, headers) {
    const answer = await this.#fetch(method, path, body, headers);
    try {
      return await answer.json();
    } catch {
      throw new DeskError("unreachable", "The answer could not be read.");
    }
  }

  /**
   * @param {string} method @param {string | null} path @param {object} [body] @param {Record<string, string>} [headers]
   * @returns {Promise<Response>}
   */
  async #fetch(method, path, body, headers = {}, renew = false) {
    let answer, problem;
    try {
      const token = await this.#at.client.token(renew);
      const account = encodeURIComponent(this.#at.client.claims?.account ?? "");
      answer = await fetch(new URL(path === null ? "v1/plans" : `v1/accounts/${account}${path}`, this.#at.server), {
        method,
        headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", ...headers },
        body: body && JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (!answer.ok) problem = await answer.json();
    } catch {
      throw new DeskError("unreachable", "The service cannot be reached.");
    }
    // This device's clock may be wrong, and the token expired: once, a fresh one is tried.
    if (answer.status === 401 && this.#at.client.renewable && !renew) return this.#fetch(method, path, body, headers, true);
    // Where there is no desk (CAPACITY_DESK=off), nothing is at its addresses.
    if (!answer.ok) throw new DeskError(problem.code === "not_found" ? "account_not_managed" : (problem.code ?? "unreachable"), problem.detail, answer.status);
    return answer;
  }
}
