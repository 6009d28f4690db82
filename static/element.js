// @ts-check
/**
 * What all elements have in common: whose connection they share, their language, and how they draw themselves.
 *
 * An element gets its token by `token-url` (an address of the platform that gives fresh ones) or by `token`; one that
 * has neither shares the connection of the first on the page that has. `server` is the address of the service; by
 * default it is where this module came from. `lang` chooses another language than the browser's.
 */

import { CapacityClient, claimsOf, expiresWithin, socketOf, TokenError, tokenFrom } from "./client.js";
import { SHARED } from "./style.js";
import { languageFor, Texts } from "./texts.js";

const HANDED_OVER = "capacity-token"; // in the tab's own storage: a fresh token from before a reload to after it
/** What tells how it stands; the rest is news, and over once it was told. */
const STATES = ["connection", "error", "ended", "seated", "waiting", "refresh", "occupancy", "near_full"];

/** @typedef {{ client: CapacityClient, users: number, live: boolean }} Lease */
/** @type {Map<string, Lease>} */
const leases = new Map();
/** @type {Map<string, CSSStyleSheet>} */
const sheets = new Map();

/** @param {string} css */
function sheetOf(css) {
  const sheet = sheets.get(css) ?? new CSSStyleSheet();
  if (!sheets.has(css)) sheet.replaceSync(css);
  sheets.set(css, sheet);
  return sheet;
}

/**
 * A source of tokens that begins with the one that the page before this reload left, if there is one.
 * @param {string} url
 * @param {string} role that they must be for: an attendee's on a host's page would take a seat
 */
function tokensOf(url, role) {
  const given = tokenFrom(url);
  const fresh = async () => {
    const token = await given();
    if (claimsOf(token)?.role !== role) throw new TokenError(`Expected a token with the role ${role}.`, true);
    return token;
  };
  return async () => {
    try {
      const [from, token] = JSON.parse(sessionStorage.getItem(HANDED_OVER) ?? "[]");
      sessionStorage.removeItem(HANDED_OVER);
      if (from === url && !expiresWithin(token)) return token;
    } catch {
      // No storage here: a fresh one will do.
    }
    return fresh();
  };
}

/**
 * Gets a fresh token for the page that comes after a reload.
 * @param {CapacityClient} client
 * @param {string} url
 */
export async function handOver(client, url) {
  const token = await client.token(true);
  try {
    sessionStorage.setItem(HANDED_OVER, JSON.stringify([url, token]));
  } catch {
    // No storage here: the next page gets its own.
  }
}

/** The page stays: nothing is handed over. */
export function keep() {
  try {
    sessionStorage.removeItem(HANDED_OVER);
  } catch {
    // No storage here: nothing was left.
  }
}

/**
 * A node. Properties that begin with `on` are listeners; the others are attributes, of which true is an empty one and
 * false, null and undefined are none.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) /** @type {any} */ (node)[name] = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== false && child !== undefined)));
  return node;
}

const LISTENERS = /** @type {const} */ (["onclick", "onchange", "onclose", "oninput"]);

/**
 * Makes the children of a node what they should be and leaves alone what is so already: focus, selection and open
 * dialogs stay. A child of another tag or `data-key` is replaced.
 * @param {Node} target
 * @param {readonly Node[]} wanted
 */
function patch(target, wanted) {
  wanted.forEach((fresh, index) => {
    const old = target.childNodes[index];
    if (old === undefined) target.appendChild(fresh);
    else if (old instanceof Element && fresh instanceof Element && old.tagName === fresh.tagName && key(old) === key(fresh)) patchElement(old, fresh);
    else if (!(old instanceof Element) && !(fresh instanceof Element)) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    } else target.replaceChild(fresh, old);
  });
  while (target.childNodes.length > wanted.length) target.lastChild?.remove();
}

/** @param {Element} node */
const key = (node) => node.getAttribute("data-key");

/** @param {any} old @param {any} fresh */
function patchElement(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open" && name !== "style") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const listener of LISTENERS) old[listener] = fresh[listener];
  if ("checked" in fresh) old.checked = fresh.hasAttribute("checked");
  if (fresh.hasAttribute("data-own")) return; // what is in it is not drawn here
  patch(old, [...fresh.childNodes]);
}

export class CapacityElement extends HTMLElement {
  /** The texts that it needs. @type {readonly import("./texts.js").SetName[]} */
  static texts = ["common"];
  /** The look that is its own. */
  static css = "";
  /** Whose token it needs. @type {"host" | "attendee"} */
  static role = "host";
  static observedAttributes = ["token-url", "token", "server", "lang", "hide-position"];
  /** Whether it needs the connection, or only the token. */
  static live = true;

  /** @type {CapacityClient | null} */
  #client = null;
  /** @type {CapacityClient | null} */
  #last = null;
  /** @type {(() => void)[]} */
  #ends = [];
  #drawing = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saying;
  #saidAt = 0;
  #body = h("div");
  #live = h("p", { class: "unseen", role: "status" });
  /** @type {Texts | null} */
  t = null;
  root = this.attachShadow({ mode: "open" });

  constructor() {
    super();
    this.root.adoptedStyleSheets = [sheetOf(SHARED), sheetOf(/** @type {typeof CapacityElement} */ (this.constructor).css)];
    this.root.append(this.#body, this.#live);
  }

  connectedCallback() {
    this.attach();
    this.language();
  }

  /**
   * An attribute that comes, or changes, while the element is on the page.
   * @param {string} name @param {string | null} old @param {string | null} value
   */
  attributeChangedCallback(name, old, value) {
    if (!this.isConnected || old === value || this.#client === null) return;
    if (name === "lang") this.language();
    else if (name === "hide-position") this.update();
    else {
      this.disconnectedCallback();
      this.attach();
      this.update();
    }
  }

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
    clearTimeout(this.#saying);
    const client = this.#client;
    this.#client = null;
    // An element that is only moved keeps its connection.
    if (client !== null) setTimeout(() => release(client));
  }

  /** Whoever gives the token gives the connection. @returns {Element} */
  get source() {
    if (this.hasAttribute("token-url") || this.hasAttribute("token")) return this;
    return [...document.querySelectorAll("[token-url], [token]")].find((other) => other.localName.startsWith("capacity-")) ?? this;
  }

  /** The address of the service, with a slash at its end. @returns {string} */
  get server() {
    const given = this.source.getAttribute("server");
    return given === null ? new URL("../", import.meta.url).href : new URL(given.replace(/\/*$/, "/"), location.href).href;
  }

  /** The address that gives tokens, if there is one. @returns {string | null} */
  get tokenUrl() {
    const url = this.source.getAttribute("token-url");
    return url === null ? null : new URL(url, location.href).href;
  }

  get client() {
    if (this.#client === null) throw new Error("The element is not on a page.");
    return this.#client;
  }

  /** Takes its share of the connection, and hears what it listens to. */
  attach() {
    const { role, live } = /** @type {typeof CapacityElement} */ (this.constructor);
    const url = this.tokenUrl;
    const token = url === null ? (this.source.getAttribute("token") ?? "") : tokensOf(url, role);
    const name = `${this.server} ${url ?? token}`;
    const lease = leases.get(name) ?? { client: new CapacityClient({ token, url: socketOf(this.server) }), users: 0, live: false };
    leases.set(name, lease);
    lease.users += 1;
    this.#client = lease.client;
    if (this.#last !== null && this.#last !== lease.client) this.reset(); // what it knew was another connection's
    this.#last = lease.client;
    this.listen(lease.client);
    if (!live || lease.live || (url === null && lease.client.claims?.role !== role)) return;
    lease.live = true;
    queueMicrotask(() => lease.client.connect());
  }

  async language() {
    const { texts } = /** @type {typeof CapacityElement} */ (this.constructor);
    const loaded = await Texts.load(languageFor(this.getAttribute("lang")), texts);
    this.t = loaded;
    this.update();
  }

  /** Whether there is a token, or an address that gives one. */
  get hasToken() {
    return this.client.renewable || this.client.claims !== null;
  }

  /** Forgets what it was told; each element's own. */
  reset() {}

  /** Subscribes; each element's own. @param {CapacityClient} _client */
  listen(_client) {}

  /** What it looks like now; each element's own. @param {Texts} _t @returns {readonly (Node | null | false)[]} */
  draw(_t) {
    return [];
  }

  /** What is to be done with what was drawn; each element's own. */
  drawn() {}

  /**
   * Hears an event for as long as the element is on the page; and at once the last one of those that tell a state.
   * @template {keyof import("./types.js").CapacityEvents} Type
   * @param {Type} type
   * @param {(detail: import("./types.js").CapacityEvents[Type]) => void} listener
   */
  hear(type, listener) {
    this.#ends.push(this.client.on(type, listener));
    const last = STATES.includes(type) ? this.client.latest(type) : undefined;
    if (last !== undefined) listener(last);
  }

  /**
   * Hears an event of the page for as long as the element is on it.
   * @param {EventTarget} target
   * @param {string} type
   * @param {() => void} listener
   */
  during(target, type, listener) {
    target.addEventListener(type, listener);
    this.#ends.push(() => target.removeEventListener(type, listener));
  }

  /** Does something every so often for as long as the element is on the page. @param {() => void} action @param {number} ms */
  every(action, ms) {
    const timer = setInterval(action, ms);
    this.#ends.push(() => clearInterval(timer));
  }

  /** Draws, once for all changes of a moment. */
  update() {
    if (this.#drawing) return;
    this.#drawing = true;
    queueMicrotask(() => {
      this.#drawing = false;
      if (this.t === null || !this.isConnected) return;
      const focused = this.root.activeElement;
      this.#body.lang = this.#live.lang = this.t.language;
      patch(this.#body, /** @type {Node[]} */ (this.draw(this.t).filter(Boolean)));
      this.drawn();
      this.toggleAttribute("ready", true);
      // What had the focus is gone: its reader goes on where the new begins.
      if (focused?.isConnected === false) /** @type {HTMLElement | null} */ (this.root.querySelector("[tabindex='-1']"))?.focus();
    });
  }

  /**
   * Tells a screen reader. With `quiet_ms` no sooner after the last time, and only the newest text.
   * @param {string} text
   * @param {number} [quiet_ms]
   */
  announce(text, quiet_ms = 0) {
    clearTimeout(this.#saying);
    this.#saying = setTimeout(() => {
      this.#saidAt = performance.now();
      if (this.#live.textContent !== text) this.#live.textContent = text;
    }, Math.max(0, this.#saidAt + quiet_ms - performance.now()));
  }

  /**
   * Tells the page. Returns false if it wants to do itself what would follow.
   * @param {string} name
   * @param {unknown} detail
   */
  tell(name, detail) {
    return this.dispatchEvent(new CustomEvent(`capacity-${name}`, { detail, bubbles: true, composed: true, cancelable: true }));
  }
}

/** @param {CapacityClient} client */
function release(client) {
  for (const [name, lease] of leases) {
    if (lease.client !== client || --lease.users > 0) continue;
    leases.delete(name);
    client.disconnect();
  }
}

const LOSSES = /** @type {const} */ (["offline", "restarting", "busy", "unavailable", "lost"]);

/**
 * How the connection is doing, in words; `kept` is what the reader does not lose by it. The longest says how high it is,
 * so that nothing moves when the connection is lost.
 * @param {Texts} t
 * @param {import("./types.js").Connection} connection
 * @param {string} kept
 */
export function connectionLine(t, connection, kept) {
  const { state, code, reason } = connection;
  const busy = reason === "overloaded" || code === 4429;
  const why = reason === "offline" ? "offline" : code === 1012 ? "restarting" : busy ? "busy" : reason === "unavailable" ? "unavailable" : "lost";
  const lost = (/** @type {string} */ how) => `${t.say(`connection_${how}`)} ${kept}`.trim();
  return h(
    "div",
    { class: "stack" },
    ...LOSSES.map((how) => h("p", { class: "line ghost", "aria-hidden": "true" }, lost(how))),
    h("p", { class: "line quiet", part: "connection", "data-state": state }, state === "reconnecting" ? lost(why) : t.say(`connection_${state}`)),
  );
}
