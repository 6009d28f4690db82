// @ts-check
/** The host's page: the banner, the gauge, the picture over time and the room; the title of the tab says how full it is. */

import { claims, element, page } from "./page.js";

const room = claims?.room ?? "";
element("room").textContent = room;
element("gauge").addEventListener("capacity-occupancy", (event) => {
  const { occupied, seat_limit } = /** @type {CustomEvent} */ (event).detail;
  document.title = `${occupied}/${seat_limit} · ${room}`;
});
page("host");
