// @ts-check
/**
 * Capacity for a page: `<script type="module" src="…/static/capacity.js"></script>` and a tag is all that it needs. The
 * module of an element is loaded when its tag is there, or comes later. docs/embed.md tells of each.
 */

export { CapacityClient, claimsOf, tokenFrom, TokenError } from "./client.js";

/** @type {Readonly<Record<string, () => Promise<CustomElementConstructor>>>} */
const ELEMENTS = {
  "capacity-waiting-room": async () => (await import("./waiting-room.js")).WaitingRoom,
  "capacity-host-banner": async () => (await import("./host-banner.js")).HostBanner,
  "capacity-gauge": async () => (await import("./gauge.js")).Gauge,
  "capacity-chart": async () => (await import("./chart.js")).Chart,
  "capacity-room": async () => (await import("./room.js")).Room,
  "capacity-account": async () => (await import("./account.js")).Account,
};

/** @type {Set<string>} */
const asked = new Set();

async function find() {
  for (const [tag, load] of Object.entries(ELEMENTS)) {
    if (asked.has(tag) || document.querySelector(tag) === null) continue;
    asked.add(tag);
    load().then(
      (element) => customElements.get(tag) ?? customElements.define(tag, element),
      () => asked.delete(tag), // the network failed: the next look tries again
    );
  }
}

if (typeof document !== "undefined") {
  new MutationObserver(find).observe(document, { childList: true, subtree: true });
  find();
}
