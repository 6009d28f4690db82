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

const AGAIN_MS = 3_000;

/** @type {Set<string>} */
const asked = new Set();

/** Defines an element. Needed only for one within a shadow root, which is not looked into. @param {string} tag */
export async function load(tag) {
  asked.add(tag);
  try {
    const element = await ELEMENTS[tag]();
    if (customElements.get(tag) === undefined) customElements.define(tag, element);
  } catch {
    setTimeout(() => load(tag), AGAIN_MS * (0.5 + Math.random())); // the network failed
  }
}

function find() {
  for (const tag of Object.keys(ELEMENTS)) if (!asked.has(tag) && document.querySelector(tag) !== null) load(tag);
}

if (typeof document !== "undefined") {
  new MutationObserver(find).observe(document, { childList: true, subtree: true });
  find();
}
