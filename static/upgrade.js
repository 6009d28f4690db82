// @ts-check
/**
 * The way to more seats: what the upgrade button does with the offer in a `near_full` message.
 */

import { number, price } from "./page.js";

const DEMO_PATH = "/demo/upgrade";

/**
 * The offer in words: the plan that fits, and what it costs today where that is known.
 * @param {import("./capacity.js").Upgrade} upgrade
 * @returns {string}
 */
export function offerText({ name, seats, due_now }) {
  const cost = due_now === null ? "" : `, ${price(due_now)} due today`;
  return `The plan ${name} has ${number(seats)} seats${cost}.`;
}

/**
 * Follows the offer's address. Under `capacity demo` that is a path of its own server which upgrades at once, and the
 * reader stays on the page; everywhere else it is the page where the account's billing sells plans.
 *
 * @param {import("./capacity.js").Upgrade} upgrade
 * @param {string} token
 * @returns {Promise<boolean>} whether the upgrade is under way; false: it goes on in another page
 * @throws {Error} whose message can be shown, when the upgrade was refused or the address is none
 */
export async function followOffer(upgrade, token) {
  const address = new URL(upgrade.url, location.href);
  if (address.protocol !== "https:" && address.protocol !== "http:") throw new Error("The upgrade address cannot be opened.");
  if (address.origin !== location.origin) {
    open(address, "_blank", "noopener,noreferrer");
    return false;
  }
  if (address.pathname !== DEMO_PATH) {
    address.hash = token;
    open(address, "_blank", "noopener");
    return false;
  }
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ plan: upgrade.plan }),
    });
  } catch {
    throw new Error("The service cannot be reached at the moment. Please try again.");
  }
  if (!answer.ok) throw new Error("The upgrade was refused. Please try again.");
  return true;
}
