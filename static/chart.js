// @ts-check
/**
 * `<capacity-chart>`: the last minutes of a room as a picture: seats taken, those who wait on top of them, and the seat
 * limit as a line. It begins when the page does; a reload keeps it.
 */

import { CapacityElement, h } from "./element.js";

const SPAN_MS = 600_000;
const SPAN_MS_MIN = 60_000;
const STEP_MS = 1_000; // of two samples nearer than this the later one counts
const WIDTH = 600;
const HEIGHT = 160;
const SVG = "http://www.w3.org/2000/svg";

/** @typedef {[at: number, taken: number, waiting: number, limit: number]} Sample */

/** A path through the samples as steps; closed, down to the ground. @param {readonly (readonly [number, number])[]} points @param {boolean} closed */
function steps(points, closed) {
  if (points.length === 0) return "";
  const [[x, y], ...rest] = points;
  const line = `M${x} ${y}${rest.map(([x, y]) => `H${x}V${y}`).join("")}H${WIDTH}`;
  return closed ? `${line}V${HEIGHT}H${x}Z` : line;
}

export class Chart extends CapacityElement {
  static texts = /** @type {const} */ (["common", "host"]);
  static css = `
.plot { position: relative; direction: ltr; }
svg { display: block; inline-size: 100%; block-size: 10em; background: var(--_track); border-radius: 0.375em; }
.taken { fill: var(--_accent); }
.waiting { fill: var(--_warn); opacity: 0.75; }
.limit { fill: none; stroke: var(--_bad); stroke-width: 2px; stroke-dasharray: 6 4; vector-effect: non-scaling-stroke; }
.axis { direction: ltr; display: flex; justify-content: space-between; font-size: 0.8125em; color: var(--_quiet); }
.keys { display: flex; flex-wrap: wrap; gap: 0.25em 1em; font-size: 0.875em; color: var(--_quiet); }
.keys li { display: flex; align-items: center; gap: 0.375em; }
.key { inline-size: 0.75em; block-size: 0.75em; border-radius: 0.1875em; background: var(--_accent); }
.key.waiting { background: var(--_warn); opacity: 1; }
.key.limit { block-size: 0; border-block-start: 2px dashed var(--_bad); border-radius: 0; }
`;

  /** @type {Sample[]} */
  #samples = [];
  #name = "";
  #svg = document.createElementNS(SVG, "svg");
  /** @type {SVGPathElement[]} */
  #paths = ["waiting", "taken", "limit"].map((name) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    return path;
  });

  constructor() {
    super();
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    this.#svg.setAttribute("aria-hidden", "true");
    this.#svg.append(...this.#paths);
  }

  reset() {
    this.#samples = [];
    this.#name = "";
  }

  /** @param {import("./client.js").CapacityClient} client */
  listen(client) {
    this.hear("occupancy", ({ room, occupied, waiting, seat_limit }) => {
      const now = Date.now();
      if (this.#name === "") this.#samples = stored((this.#name = `capacity-chart ${client.claims?.account} ${room}`));
      const last = this.#samples.at(-1);
      const same = last !== undefined && now - last[0] < STEP_MS;
      if (same && this.#samples.length > 1) this.#samples.pop();
      this.#samples.push([same ? last[0] : now, occupied, waiting, seat_limit]);
    });
    this.during(window, "pagehide", () => store(this.#name, this.#samples));
    this.every(() => document.hidden || this.update(), STEP_MS);
  }

  /** @param {import("./texts.js").Texts} t */
  draw(t) {
    const now = Date.now();
    // The last sample before the span tells how it stood when the span began.
    while (this.#samples.length > 1 && this.#samples[1][0] < now - SPAN_MS) this.#samples.shift();
    const samples = this.#samples;
    const from = Math.max(now - SPAN_MS, Math.min(samples[0]?.[0] ?? now, now - SPAN_MS_MIN));
    const top = 1.15 * Math.max(1, ...samples.map(([, taken, waiting, limit]) => Math.max(limit, taken + waiting)));
    const points = (/** @type {(sample: Sample) => number} */ value) =>
      samples.map((sample) => /** @type {const} */ ([
        Math.round((WIDTH * Math.max(0, sample[0] - from)) / (now - from)),
        Math.round(HEIGHT * (1 - value(sample) / top)),
      ]));
    const drawn = [steps(points(([, taken, waiting]) => taken + waiting), true), steps(points(([, taken]) => taken), true), steps(points(([, , , limit]) => limit), false)];
    this.#paths.forEach((path, index) => path.setAttribute("d", drawn[index]));
    const last = samples.at(-1);
    const says = last === undefined ? "–" : t.say("chart_says", { first: samples[0][1], taken: last[1], waiting: last[2], limit: last[3] });
    return [
      h(
        "figure",
        { class: "card", part: "card", "aria-labelledby": "title" },
        h("h2", { id: "title" }, t.say("chart")),
        h("div", { class: "plot", part: "plot", "data-own": true }),
        h("p", { class: "unseen" }, says),
        h("p", { class: "axis" }, h("span", {}, t.say("ago", { duration: t.duration((now - from) / 1_000) })), h("span", {}, t.say("now"))),
        h(
          "ul",
          { class: "keys" },
          ...["taken", "waiting", "limit"].map((name) => h("li", {}, h("span", { class: `key ${name}` }), t.say(`chart_${name}`))),
        ),
      ),
    ];
  }

  drawn() {
    if (!this.#svg.isConnected) this.root.querySelector(".plot")?.append(this.#svg);
  }
}

/** @param {string} name @returns {Sample[]} */
function stored(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {string} name @param {Sample[]} samples */
function store(name, samples) {
  try {
    sessionStorage.setItem(name, JSON.stringify(samples));
  } catch {
    // No storage, or full: the picture begins anew after a reload.
  }
}
