// @ts-check
/**
 * The types of what goes over the wire and of what the client tells: comments alone, for editors and for TypeScript. No
 * page loads this file.
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
 * The state of the connection. `code` and `reason` are those of the last close (`offline` where the browser says that
 * it has no network, `token` where no token could be had), `delay_ms` the wait before the next attempt, `stop` is set
 * once there will be none.
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

/** A token, or what gives a fresh one whenever it is called. @typedef {string | (() => Promise<string>)} TokenSource */

export {};
