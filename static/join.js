// @ts-check
/** The attendee's page: the waiting room, and the title of the tab, which says how it stands. */

import { claims, element, page } from "./page.js";

const room = claims?.room ?? "";
element("room").textContent = room;
element("waiting-room").addEventListener("capacity-change", (event) => {
  const { heading } = /** @type {CustomEvent} */ (event).detail;
  document.title = room ? `${heading} · ${room}` : heading;
});
page();
