// @ts-check
/**
 * The account's page: whose account it is, how many seats its rooms have, and where its plan is changed.
 */

import { claimsOf, tokenOfPage } from "./capacity.js";
import { element, followTheAddress, number, write } from "./page.js";

const token = tokenOfPage();
const claims = claimsOf(token);

/** Shows a link whose address the server wrote into the head of the page. @param {"upgrade" | "support"} name */
function showLink(name) {
  const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector(`meta[name="capacity-${name}-url"]`));
  if (meta === null || !/^https?:\/\//.test(meta.content)) return;
  const link = /** @type {HTMLAnchorElement} */ (element(name));
  link.href = meta.content;
  link.hidden = false;
}

/**
 * @param {string} account
 * @param {string} room
 */
async function showSeats(account, room) {
  const path = `/v1/accounts/${encodeURIComponent(account)}/rooms/${encodeURIComponent(room)}`;
  try {
    const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
    const body = await answer.json();
    if (answer.ok) write("seats", number(body.seat_limit));
    else write("refusal", body.detail ?? body.title ?? "The service did not answer.");
  } catch {
    write("refusal", "The service cannot be reached at the moment. Please load the page again.");
  }
}

followTheAddress();
showLink("upgrade");
showLink("support");
if (claims?.role !== "host" || claims.room === undefined) {
  write("refusal", "This page needs a host's link. Please open it from your webinar platform again.");
} else {
  write("account", claims.account);
  write("account-name", claims.account);
  document.title = `${claims.account} · Account`;
  const host = /** @type {HTMLAnchorElement} */ (element("host"));
  host.href = `/host#${token}`;
  host.hidden = false;
  showSeats(claims.account, claims.room);
}
