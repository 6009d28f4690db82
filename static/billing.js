// @ts-check
/** The account's page. */

import { claims, element, page } from "./page.js";

element("account").textContent = claims?.account ?? "";
page("account").then((t) => {
  document.title = `${t.say("billing_details")} · ${claims?.account ?? ""}`;
});
