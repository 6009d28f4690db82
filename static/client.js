// @ts-check
/**
 * The browser's client of Capacity: one connection to `/v1/ws` that keeps itself alive and speaks in typed events.
 *
 *   const client = new CapacityClient({ token });      // or token: tokenFrom("/my/token"), which gets fresh ones
 *   client.on("seated", (seated) => …);                // every server message is an event of its `type`
 *   client.on("connection", (connection) => …);        // connecting, connected, reconnecting, stopped
 *   client.connect();
 *
 * What a close code asks for is one table (CLOSE_CODES, from docs/protocol.md). Whatever is not in it (a lost network, a
 * server that went away) comes back after a delay that grows. A reconnected client is the same participant: the server
 * keeps its seat or its place in the line for a while.
 */

/**
 * @typedef {import("./types.js").Connection} Connection
 * @typedef {import("./types.js").CapacityEvents} CapacityEvents
 * @typedef {import("./types.js").Claims} Claims
 * @typedef {import("./types.js").TokenSource} TokenSource
 * @typedef {import("./types.js").StopReason} StopReason
 */

const SOON_MS_MAX = 2_000; // after `restarting`: spreads a whole room over two seconds
const GROWING_MS_FIRST = 1_000; // the first delay is random below this, each further one below twice the last
const GROWING_MS_MAX = 30_000;
const STABLE_MS = 10_000; // a connection that lived this long starts the delays afresh
const TICK_MS = 15_000; // a hidden page's timers run at least once a minute,
const SLEEP_MS = 150_000; // so one that did not tick for this long slept: its connection is worth nothing
const PROBE_MS = 5_000; // how long the server may take to show that a connection still lives
const EXPIRES_MS = 30_000; // a token that has less than this left is not used again, if a fresh one can be had
const FETCH_MS = 10_000;
const STANDS = ["seated", "waiting", "refresh"]; // what tells an attendee where they stand
const LEVELS = ["near_full", "near_full_cleared"]; // and a host how full it is; the newest of each holds

/** @type {Readonly<Record<number, "soon" | "growing" | StopReason>>} */
const CLOSE_CODES = Object.freeze({
  1000: "left",
  1002: "bug",
  1003: "bug",
  1007: "bug",
  1008: "bug",
  1009: "bug",
  1012: "soon",
  1013: "growing",
  4401: "token",
  4404: "unknown_account",
  4409: "replaced",
  4410: "ended",
  4429: "growing",
});

/** No token could be had. `final`: asking again is of no use, because whoever gives them out refused. */
export class TokenError extends Error {
  /** @param {string} message @param {boolean} final */
  constructor(message, final) {
    super(message);
    this.final = final;
  }
}

/**
 * A source that asks an address of the platform for a fresh token. It answers with the token as text, or with a JSON
 * object that has it as `token`. 401, 403, 404 and 410 are final; everything else is tried again.
 * @param {string} url
 * @returns {() => Promise<string>} rejects with a TokenError
 */
export function tokenFrom(url) {
  return async () => {
    let answer, text;
    try {
      answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(FETCH_MS) });
      text = (await answer.text()).trim();
    } catch {
      throw new TokenError("The address that gives tokens cannot be reached.", false);
    }
    if (!answer.ok) throw new TokenError(`No token was given: ${answer.status}.`, [401, 403, 404, 410].includes(answer.status));
    if (text.startsWith("{")) text = String(JSON.parse(text).token);
    if (claimsOf(text) === null) throw new TokenError("What was given is no token.", false);
    return text;
  };
}

/**
 * The claims of a token, unchecked, or null for a text that is no token.
 * @param {string} token
 * @returns {Claims | null}
 */
export function claimsOf(token) {
  try {
    const bytes = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    return typeof claims === "object" ? claims : null;
  } catch {
    return null;
  }
}

/** Whether a token has less than this left, by this device's clock. @param {string} token @param {number} [ms] */
export function expiresWithin(token, ms = 0) {
  return Number(claimsOf(token)?.exp) * 1_000 - Date.now() < ms;
}

/** The socket of a server. @param {string | URL} server its address; a path beneath it counts. @returns {string} */
export function socketOf(server) {
  const url = new URL("v1/ws", server);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

export class CapacityClient {
  #url;
  #source;
  #random;
  #token = "";
  #refused = false; // the last token was
  #unusable = false; // the server has said that its store is away, and nothing since
  #events = new EventTarget();
  /** @type {Map<string, any>} */
  #latest = new Map();
  /** @type {WebSocket | null} */
  #socket = null;
  #opening = 0; // counts attempts, so that one that was given up is not gone on with
  #attempts = 0;
  #openedAt = 0;
  /** @type {{ code: number, reason: string } | null} how the last connection ended */
  #last = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} until the next attempt */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probe;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticks;
  #tickedAt = 0;
  #heldUntil = 0; // a seat is held till then, and a `claim` would take it

  /**
   * @param {{ token: TokenSource, url?: string, random?: () => number }} options `url` is the address of `/v1/ws`, by
   *   default that of the page's own server; `random` gives numbers from 0 to 1 for the delays.
   */
  constructor({ token, url = socketOf(new URL("/", location.href)), random = Math.random }) {
    this.#source = token;
    this.#token = typeof token === "string" ? token : "";
    this.#url = url;
    this.#random = random;
  }

  /**
   * Hears an event. Returns the function that stops hearing it.
   * @template {keyof CapacityEvents} Type
   * @param {Type} type
   * @param {(detail: CapacityEvents[Type]) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const hear = (/** @type {Event} */ event) => listener(/** @type {CustomEvent} */ (event).detail);
    this.#events.addEventListener(type, hear);
    return () => this.#events.removeEventListener(type, hear);
  }

  /**
   * The last event of a type on this connection, if no other has overtaken it, for who comes to hear it later.
   * @template {keyof CapacityEvents} Type
   * @param {Type} type
   * @returns {CapacityEvents[Type] | undefined}
   */
  latest(type) {
    return this.#latest.get(type);
  }

  /** Connects, and from then on keeps connected until a close code says stop. Calling it again starts afresh. */
  connect() {
    this.#attempts = 0;
    this.#last = null;
    this.#refused = false;
    if (this.#ticks === undefined) {
      this.#ticks = setInterval(this.#tick, TICK_MS);
      this.#tickedAt = Date.now();
      addEventListener("online", this.#online);
      addEventListener("offline", this.#offline);
      addEventListener("pageshow", this.#wake);
      document.addEventListener("visibilitychange", this.#wake);
    }
    this.#open();
  }

  /** Whether messages can be sent at the moment. */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Whether fresh tokens can be had. */
  get renewable() {
    return typeof this.#source === "function";
  }

  /** What the present token says. */
  get claims() {
    return claimsOf(this.#token);
  }

  /**
   * A token to show a server: the present one, or a fresh one if that is about to expire and another can be had.
   * @param {boolean} [renew] whether it must be a fresh one
   * @returns {Promise<string>} rejects with a TokenError
   */
  async token(renew = false) {
    if (typeof this.#source === "function" && (renew || expiresWithin(this.#token, EXPIRES_MS) || claimsOf(this.#token) === null)) {
      this.#token = await this.#source();
    }
    return this.#token;
  }

  /**
   * Sends a message without fields. Returns whether there was a connection to send it over.
   * @param {"leave" | "claim" | "pass" | "open" | "end" | "request_upgrade"} type
   * @returns {boolean}
   */
  send(type) {
    if (!this.connected) return false;
    this.#socket?.send(JSON.stringify({ type }));
    if (type === "claim") {
      this.#heldUntil = 0;
      // A connection that does not answer is none; unless its store is away, then the answer comes when that is back.
      if (!this.#unusable) this.#probe ??= setTimeout(() => this.#open(), PROBE_MS);
    }
    return true;
  }

  /** Stops for good and gives nothing up: to the server this is a lost connection. */
  disconnect() {
    this.#drop();
    clearInterval(this.#ticks);
    this.#ticks = undefined;
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    removeEventListener("pageshow", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
  }

  async #open() {
    this.#drop();
    this.#openedAt = 0;
    this.#unusable = false;
    const opening = this.#opening;
    const last = this.#last;
    this.#emit("connection", last === null ? { state: "connecting" } : { state: "reconnecting", ...last, delay_ms: 0 });
    let token;
    try {
      token = await this.token(this.#refused);
    } catch (error) {
      if (opening !== this.#opening) return;
      if (error instanceof TokenError && error.final) this.#end(4401, "token", "token");
      else this.#closed(1013, "token");
      return;
    }
    if (opening !== this.#opening) return;
    let socket;
    try {
      socket = new WebSocket(this.#url, ["capacity.v1", `bearer.${token}`]);
    } catch {
      // The token holds a character that no token has (RFC 6455 allows fewer in a subprotocol): it cannot be right.
      this.#end(4401, "unauthorized", "token");
      return;
    }
    this.#socket = socket;
    // Each listener checks that it still speaks for the present socket: a dropped one must not be heard any more.
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#openedAt = Date.now();
      this.#latest.clear();
      this.#emit("connection", { state: "connected" });
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#refused = false;
      this.#lives();
      const message = decode(event.data);
      if (message === null) return;
      this.#unusable = message.code === "unavailable";
      if (STANDS.includes(message.type)) this.#heldUntil = message.type === "refresh" ? Date.now() + message.hold_seconds * 1_000 : 0;
      this.#emit(message.type, message);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code, event.reason);
    };
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.#drop();
    this.#last = { code, reason };
    let action = CLOSE_CODES[code] ?? "growing";
    if (action === "token" && this.renewable && !this.#refused) {
      this.#refused = true;
      action = "soon";
    }
    if (action !== "soon" && action !== "growing") {
      this.#end(code, reason, action);
      return;
    }
    if (this.#openedAt > 0 && Date.now() - this.#openedAt >= STABLE_MS) this.#attempts = 0;
    const longest = Math.min(GROWING_MS_MAX, GROWING_MS_FIRST * 2 ** this.#attempts);
    const delay_ms = Math.round(this.#random() * (action === "soon" ? SOON_MS_MAX : longest));
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#open(), delay_ms);
    this.#emit("connection", { state: "reconnecting", code, reason, delay_ms });
  }

  /** @param {number} code @param {string} reason @param {StopReason} stop */
  #end(code, reason, stop) {
    this.disconnect();
    this.#emit("connection", { state: "stopped", code, reason, stop });
  }

  #tick = () => {
    const slept = Date.now() - this.#tickedAt > SLEEP_MS;
    this.#tickedAt = Date.now();
    if (slept) this.#open();
  };

  #offline = () => this.#emit("connection", { state: "reconnecting", reason: "offline" });

  /** The page is looked at again: no reason to wait out a delay, nor to trust the connection. */
  #wake = () => {
    if (document.visibilityState === "visible") this.#online();
  };

  #online = () => {
    if (!navigator.onLine) return;
    this.#tick();
    if (this.#socket === null) {
      if (this.#timer !== undefined) this.#open(); // else it gets its token
    } else if (this.connected && this.#probe === undefined && this.claims?.role === "attendee" && Date.now() >= this.#heldUntil) {
      if (this.#unusable) return;

      this.send("claim"); // always answered, whatever the answer
    } else if (this.latest("connection")?.reason === "offline") this.#open();
  };

  #lives() {
    clearTimeout(this.#probe);
    this.#probe = undefined;
    if (this.latest("connection")?.state !== "connected") this.#emit("connection", { state: "connected" });
  }

  #drop() {
    this.#opening += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#probe);
    this.#timer = this.#probe = undefined;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /**
   * @template {keyof CapacityEvents} Type
   * @param {Type} type
   * @param {CapacityEvents[Type]} detail
   */
  #emit(type, detail) {
    const group = [STANDS, LEVELS].find((types) => types.includes(type));
    // What is said of the account's other rooms is news, and tells nobody how this one stands.
    if (group !== LEVELS || /** @type {any} */ (detail).room === this.claims?.room) {
      group?.forEach((other) => this.#latest.delete(other));
      this.#latest.set(type, detail);
    }
    this.#events.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * @param {unknown} data
 * @returns {any} the message, or null for what is none; later servers may send what this client does not know
 */
function decode(data) {
  try {
    const message = JSON.parse(String(data));
    return typeof message?.type === "string" && message.type !== "connection" ? message : null;
  } catch {
    return null;
  }
}
