// @ts-check
/**
 * The test card's bank: asks its owner to confirm a payment. Which one, stands in the address's fragment.
 */

import { announce, element, followTheAddress, onPress, write } from "./page.js";

const reference = location.hash.slice(1);

/** @param {string} text */
function done(text) {
  element("choice").hidden = true;
  write("refusal", "");
  write("text", text);
  announce(text);
}

/** @param {boolean} confirmed */
async function decide(confirmed) {
  try {
    const answer = await fetch("/v1/payments/card", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reference, confirmed }),
    });
    if (answer.ok) done(confirmed ? "Paid. You can close this page." : "Not paid. You can close this page.");
    else if (answer.status === 404) done("This payment is over: it was decided, or its time has passed.");
    else write("refusal", "The service is busy. Please try again.");
  } catch {
    write("refusal", "The service cannot be reached at the moment. Please try again.");
  }
}

followTheAddress();
onPress("confirm", () => decide(true));
onPress("refuse", () => decide(false));
