// @ts-check
/** The test card's bank: asks its owner to confirm a payment. Which one, stands in the address's fragment. */

import { element, page, token as reference } from "./page.js";

const t = await page("card");

/** @param {string} key */
function done(key) {
  element("choice").hidden = true;
  element("refusal").textContent = "";
  element("text").textContent = t.say(key);
}

/** @param {boolean} confirmed */
async function decide(confirmed) {
  try {
    const answer = await fetch("/v1/payments/card", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reference, confirmed }),
    });
    if (answer.ok) done(confirmed ? "confirm_paid" : "confirm_unpaid");
    else if (answer.status === 404) done("confirm_over");
    else element("refusal").textContent = t.say("problem_unavailable");
  } catch {
    element("refusal").textContent = t.say("problem_unreachable");
  }
}

element("choice").hidden = false;
element("confirm").onclick = () => decide(true);
element("refuse").onclick = () => decide(false);
