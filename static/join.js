// @ts-check
/**
 * The attendee's page: a seat, or a place in the line and what comes next. When a seat is held for its reader it reloads
 * itself, at a random moment within the spread that the server names, so that a whole line does not come back at once.
 */

import { CapacityClient, claimsOf, tokenOfPage } from "./capacity.js";
import {
  announce, count, duration, element, followTheAddress, number, onPress, show, write, writeConnection,
} from "./page.js";

const PROBE_MS = 3_000; // how long the server may take to show that a reload would find the page

/** Why somebody waits, and what will happen without them doing anything. */
const WAITING = {
  full: {
    lead: "All seats of this webinar are taken.",
    next: "As soon as a seat is free for you, it is held for you, this page refreshes itself, and you are in.",
  },
  not_started: {
    lead: "The webinar has not started yet.",
    next: "When the host opens it, seats are given in the order of this line: this page refreshes itself, and you are in.",
  },
  seat_lost: {
    lead: "You were away for too long, and your seat was given to somebody else.",
    next: "The next seat that is free is held for you: this page refreshes itself, and you are in.",
  },
};

const HELD = {
  seat_limit_raised: "The host has added seats.",
  seat_freed: "A seat has become free.",
  room_opened: "The webinar has started.",
};

const ENDED = {
  host: "The host has ended it. Thank you for coming.",
  api: "It has been closed. Thank you for coming.",
  idle: "It was closed because nobody was in it any more.",
};

/**
 * What to say when the connection stopped for good; `again` is the button that connects once more, where that can help.
 * @type {Record<import("./capacity.js").StopReason, { title: string, text: string, again?: string }>}
 */
const STOPPED = {
  left: { title: "You have left", text: "Your seat or place is free for somebody else.", again: "Join again" },
  replaced: {
    title: "Open somewhere else",
    text: "You have opened this webinar in another tab or on another device, and your seat or place is there now.",
    again: "Use this page instead",
  },
  ended: { title: "You are no longer in this webinar", text: "It has ended, or its host has taken you out." },
  token: {
    title: "This link does not work any more",
    text: "It has expired, or it is not complete. Please open the webinar from your invitation again.",
  },
  unknown_account: { title: "There is no such webinar", text: "Please check the link in your invitation." },
  bug: { title: "Something went wrong", text: "This page and the service did not understand each other.", again: "Try again" },
};

const token = tokenOfPage();
const claims = claimsOf(token);
const client = new CapacityClient({ token });

/** @type {import("./capacity.js").Ended | null} */
let ended = null;
/** @type {import("./capacity.js").Seated | import("./capacity.js").Waiting | null} */
let standing = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let reloadTimer;
/** @type {ReturnType<typeof setInterval> | undefined} */
let countdownTimer;

/** @param {"connecting" | "seated" | "waiting" | "held" | "stopped"} view */
function view(view) {
  show("data-view", view);
  document.body.dataset.state = view;
}

function forgetTheReload() {
  clearTimeout(reloadTimer);
  clearInterval(countdownTimer);
}

/** @param {string} title */
function entitle(title) {
  document.title = `${title} · ${claims?.room ?? "Webinar"}`;
}

/** @param {import("./capacity.js").Seated} seated */
function showSeat(seated) {
  forgetTheReload();
  if (document.body.dataset.state !== "seated") announce("You have a seat.");
  standing = seated;
  write("seated-lead", claims?.name ? `Welcome, ${claims.name}. You are in the webinar.` : "You are in the webinar.");
  writeSeats(seated.seat_limit);
  view("seated");
  entitle("You have a seat");
}

/** @param {number} limit */
function writeSeats(limit) {
  write("seated-room", `The room has ${count(limit, "seat", "seats")}. If your connection drops, yours is kept for a short while.`);
}

/** @param {import("./capacity.js").Waiting} waiting */
function showPlace(waiting) {
  forgetTheReload();
  const news = standing?.type !== "waiting" || standing.reason !== waiting.reason || waiting.position <= 3;
  standing = waiting;
  const texts = WAITING[waiting.reason] ?? WAITING.full;
  const place = placeText(waiting);
  write("waiting-reason", texts.lead);
  write("position", place);
  write("position-of", waiting.waiting > 1 ? `in a line of ${number(waiting.waiting)}` : "");
  write("eta", waiting.eta_seconds === null ? "" : `Probably ${duration(waiting.eta_seconds)} to go`);
  write("waiting-next", texts.next);
  view("waiting");
  entitle(place);
  if (news) announce(`${texts.lead} ${place}.`);
}

/** @param {import("./capacity.js").Waiting} waiting @returns {string} */
function placeText({ position, reason }) {
  if (position > 1) return `Place ${number(position)}`;
  return reason === "not_started" ? "First in line" : "You are next";
}

/** @param {import("./capacity.js").Refresh} refresh */
function showHeldSeat(refresh) {
  forgetTheReload();
  const delayMs = Math.random() * refresh.spread_ms;
  const reloadAt = performance.now() + delayMs;
  const countDown = () => {
    const seconds = Math.max(0, Math.ceil((reloadAt - performance.now()) / 1_000));
    write("countdown", seconds > 0 ? number(seconds) : "Now");
    write("countdown-of", seconds > 0 ? `${seconds === 1 ? "second" : "seconds"} until this page refreshes` : "this page refreshes");
  };
  write("held-reason", HELD[refresh.reason] ?? HELD.seat_freed);
  countDown();
  countdownTimer = setInterval(countDown, 250);
  reloadTimer = setTimeout(takeTheSeat, delayMs);
  view("held");
  entitle("A seat is yours");
  announce("A seat is yours. This page refreshes by itself.");
}

/**
 * Reloads the page, whose new connection takes the held seat. Where the page could not be loaded at the moment, a reload
 * would leave the reader with a browser's error page and the seat would be lost: then it is claimed without one.
 */
async function takeTheSeat() {
  forgetTheReload();
  try {
    const page = await fetch(location.pathname, { cache: "no-cache", signal: AbortSignal.timeout(PROBE_MS) });
    if (page.ok) {
      location.reload();
      return;
    }
  } catch {
    // Not reachable: the seat is claimed below, or by the next connection if this one is gone as well.
  }
  client.send("claim");
}

/** @param {import("./capacity.js").StopReason} stop */
function showStop(stop) {
  forgetTheReload();
  standing = null;
  const texts = stop === "ended" && ended !== null ? { title: "The webinar has ended", text: ENDED[ended.reason] ?? ENDED.api } : STOPPED[stop];
  showText(texts.title, texts.text, texts.again, connectAgain);
}

function connectAgain() {
  ended = null;
  view("connecting");
  client.connect();
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} [label] of the button
 * @param {() => void} [press] what the button does
 */
function showText(title, text, label, press) {
  write("stopped-title", title);
  write("stopped-text", text);
  write("again", label ?? "");
  element("again").toggleAttribute("hidden", label === undefined);
  element("again").onclick = press ?? null;
  view("stopped");
  entitle(title);
  announce(`${title}. ${text}`);
}

/** Gives the seat or place up. Without a connection nobody can be told, and the seat goes back when its time is over. */
function leave() {
  if (client.send("leave")) return;
  client.disconnect();
  writeConnection({ state: "stopped" }, "");
  showStop("left");
}

/** What the reader does not lose while the connection is away. @returns {string} */
function kept() {
  if (standing === null) return "";
  return standing.type === "seated" ? "Your seat is kept for a short while." : "Your place is kept for a short while.";
}

for (const show of /** @type {const} */ (["seated", "waiting", "refresh"])) {
  client.on(show, () => writeConnection({ state: "connected" }, ""));
}
client.on("seated", showSeat);
client.on("waiting", showPlace);
client.on("refresh", showHeldSeat);
client.on("seat_limit", ({ seat_limit }) => writeSeats(seat_limit));
client.on("ended", (message) => (ended = message));
client.on("error", ({ code }) => {
  if (code === "unavailable") writeConnection({ state: "reconnecting", reason: code }, kept());
});
client.on("connection", (connection) => {
  writeConnection(connection, kept());
  if (connection.stop !== undefined) showStop(connection.stop);
});

onPress("leave-seat", leave);
onPress("leave-line", leave);
onPress("refresh-now", takeTheSeat);
followTheAddress();

write("room", claims?.room ?? "Webinar");
if (claims === null) {
  showText("This link is not complete", "Please open the webinar from your invitation again.");
  writeConnection({ state: "stopped" }, "");
} else if (claims.role === "host") {
  showText("This is a host's link", "It belongs to the page where the webinar is run.", "Go to the host's page", () => {
    location.assign(`/host#${token}`);
  });
  writeConnection({ state: "stopped" }, "");
} else {
  client.connect();
}
