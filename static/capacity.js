// @ts-check
/**
 * The browser's client of Capacity: one connection to `/v1/ws` that keeps itself alive and speaks in typed events.
 *
 *   const client = new CapacityClient({ token });
 *   client.on("seated", (seated) => …);            // every server message is an event of its `type`
 *   client.on("connection", (connection) => …);    // connecting, connected, reconnecting, stopped
 *   client.connect();
 *
 * What a close code asks for is one table (CLOSE_CODES, from docs/protocol.md): stop, come back soon, or come back after
 * a delay that grows. Whatever is not in it (a lost network, a server that went away) comes back like the last.
 * A reconnected client is the same participant: the server keeps its seat or its place in the line for a while.
 */

/**
 * Server messages (docs/protocol.md). Instants are ms since the epoch and end in `_at` or `_until`; durations end in
 * `_ms` or `_seconds`. Fields that are not listed are ignored.
 *
 * @typedef {{ type: "seated", room: string, participant: string, seat_limit: number, occupied: number }} Seated
 * @typedef {{ type: "waiting", room: string, participant: string, reason: "full" | "not_started" | "seat_lost",
 *   position: number, waiting: number, seat_limit: number, eta_seconds: number | null }} Waiting
 * @typedef {{ type: "refresh", room: string, reason: "seat_limit_raised" | "seat_freed" | "room_opened",
 *   seat_limit: number, hold_seconds: number, held_until: number, spread_ms: number }} Refresh
 * @typedef {{ type: "seat_limit", room: string, seat_limit: number, previous: number }} SeatLimit
 * @typedef {{ type: "pass", token: string, expires_at: number }} Pass
 * @typedef {{ type: "ended", room: string, reason: "host" | "api" | "idle" }} Ended
 * @typedef {{ type: "error", code: string, message: string }} Refusal
 * @typedef {{ type: "occupancy", room: string, state: "not_started" | "open" | "ended", seat_limit: number,
 *   occupied: number, seated: number, away: number, held: number, waiting: number, free: number, peak: number
 *   }} Occupancy
 * @typedef {{ amount: number, currency: string }} Money in minor units of the currency
 * @typedef {{ plan: string, name: string, seats: number, due_now: Money | null, url: string }} Upgrade
 * @typedef {{ type: "near_full", room: string, level: "near_full" | "full", occupied: number, seat_limit: number,
 *   waiting: number, upgrade: Upgrade | null, full_in_seconds: number | null }} NearFull
 * @typedef {{ type: "near_full_cleared", room: string, occupied: number, seat_limit: number }} NearFullCleared
 * @typedef {{ type: "upgrade_requested", room: string, participant: string, name: string | null,
 *   plan: string | null }} UpgradeRequested
 */

/**
 * Why a client stopped for good: what the page should tell its reader.
 * @typedef {"left" | "bug" | "token" | "unknown_account" | "replaced" | "ended"} StopReason
 */

/**
 * The state of the connection. `code` and `reason` are those of the last close, `delay_ms` the wait before the next
 * attempt, `stop` is set once there will be none.
 * @typedef {{ state: "connecting" | "connected" | "reconnecting" | "stopped", code?: number, reason?: string,
 *   delay_ms?: number, stop?: StopReason }} Connection
 */

/**
 * @typedef {{ connection: Connection, seated: Seated, waiting: Waiting, refresh: Refresh, seat_limit: SeatLimit,
 *   pass: Pass, ended: Ended, error: Refusal, occupancy: Occupancy, near_full: NearFull,
 *   near_full_cleared: NearFullCleared, upgrade_requested: UpgradeRequested }} CapacityEvents
 */

/**
 * What the token says about its bearer. For choosing what to show, never for deciding what is allowed: the server does
 * that, and it alone checks the signature.
 * @typedef {{ sub: string, account: string, room?: string, role: "host" | "attendee" | "service", name?: string,
 *   billing?: boolean, exp?: number }} Claims
 */

const SOON_MS_MAX = 2_000; // after `restarting`: spreads a whole room over two seconds
const GROWING_MS_FIRST = 1_000; // the first delay is random below this, each further one below twice the last
const GROWING_MS_MAX = 30_000;
const STABLE_MS = 10_000; // a connection that lived this long starts the delays afresh
const TICK_MS = 15_000; // a hidden page's timers run at least once a minute,
const SLEEP_MS = 150_000; // so one that did not tick for this long slept: its connection is worth nothing

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

/** The socket of the page's own server. @returns {string} */
function ownSocket() {
  const url = new URL("/v1/ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The token of the page: the address's fragment, which is never sent to a server. @returns {string} */
export function tokenOfPage() {
  return location.hash.slice(1);
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

export class CapacityClient {
  #url;
  #token;
  #random;
  #events = new EventTarget();
  /** @type {WebSocket | null} */
  #socket = null;
  #attempts = 0;
  #openedAt = 0;
  /** @type {{ code: number, reason: string } | null} how the last connection ended */
  #last = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticks;
  #tickedAt = 0;

  /**
   * @param {{ token: string, url?: string, random?: () => number }} options `url` is the address of `/v1/ws`, by default
   *   that of the page's own server; `random` gives numbers from 0 to 1 for the delays.
   */
  constructor({ token, url = ownSocket(), random = Math.random }) {
    this.#token = token;
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

  /** Connects, and from then on keeps connected until a close code says stop. Calling it again starts afresh. */
  connect() {
    this.#attempts = 0;
    this.#last = null;
    if (this.#ticks === undefined) {
      this.#ticks = setInterval(this.#tick, TICK_MS);
      this.#tickedAt = Date.now();
      addEventListener("online", this.#wake);
      addEventListener("pageshow", this.#wake);
      document.addEventListener("visibilitychange", this.#wake);
    }
    this.#open();
  }

  /** Whether messages can be sent at the moment. */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Sends a message without fields. Returns whether there was a connection to send it over.
   * @param {"leave" | "claim" | "pass" | "open" | "end" | "request_upgrade"} type
   * @returns {boolean}
   */
  send(type) {
    if (!this.connected) return false;
    this.#socket?.send(JSON.stringify({ type }));
    return true;
  }

  /** Stops for good and gives nothing up: to the server this is a lost connection. */
  disconnect() {
    this.#stop();
  }

  #open() {
    this.#drop();
    const last = this.#last;
    this.#emit("connection", last === null ? { state: "connecting" } : { state: "reconnecting", ...last, delay_ms: 0 });
    let socket;
    try {
      socket = new WebSocket(this.#url, ["capacity.v1", `bearer.${this.#token}`]);
    } catch {
      // The token holds a character that no token has (RFC 6455 allows fewer in a subprotocol): it cannot be right.
      this.#stop();
      this.#emit("connection", { state: "stopped", code: 4401, reason: "unauthorized", stop: "token" });
      return;
    }
    this.#socket = socket;
    this.#openedAt = 0;
    // Each listener checks that it still speaks for the present socket: a dropped one must not be heard any more.
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#openedAt = Date.now();
      this.#emit("connection", { state: "connected" });
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      const message = decode(event.data);
      if (message !== null) this.#emit(message.type, message);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code, event.reason);
    };
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    this.#socket = null;
    this.#last = { code, reason };
    const action = CLOSE_CODES[code] ?? "growing";
    if (action !== "soon" && action !== "growing") {
      this.#stop();
      this.#emit("connection", { state: "stopped", code, reason, stop: action });
      return;
    }
    if (this.#openedAt > 0 && Date.now() - this.#openedAt >= STABLE_MS) this.#attempts = 0;
    const longest = Math.min(GROWING_MS_MAX, GROWING_MS_FIRST * 2 ** this.#attempts);
    const delay_ms = Math.round(this.#random() * (action === "soon" ? SOON_MS_MAX : longest));
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#open(), delay_ms);
    this.#emit("connection", { state: "reconnecting", code, reason, delay_ms });
  }

  #tick = () => {
    const slept = Date.now() - this.#tickedAt > SLEEP_MS;
    this.#tickedAt = Date.now();
    if (slept) this.#open();
  };

  /** The network is back, or the page is looked at again: no reason to wait out a delay. */
  #wake = () => {
    this.#tick();
    if (this.#socket === null && document.visibilityState === "visible" && navigator.onLine) this.#open();
  };

  #stop() {
    this.#drop();
    clearInterval(this.#ticks);
    this.#ticks = undefined;
    removeEventListener("online", this.#wake);
    removeEventListener("pageshow", this.#wake);
    document.removeEventListener("visibilitychange", this.#wake);
  }

  #drop() {
    clearTimeout(this.#timer);
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
