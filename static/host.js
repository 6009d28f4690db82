// @ts-check
/**
 * The host's page: the room in numbers while they change, a banner when it is nearly full with the plan that fits, and
 * the news when the limit rose. Several hosts see the same; who may not buy can ask those who may.
 */

import { CapacityClient, claimsOf, tokenOfPage } from "./capacity.js";
import {
  announce, count, duration, element, followTheAddress, LANGUAGE, number, onPress, write, writeConnection,
} from "./page.js";
import { followOffer, offerText } from "./upgrade.js";

const NEWS_MAX = 6;
const FRESH_MS = 8_000; // a raise is seen for so long, also if it leaves the room nearly full
const UPGRADE_SECONDS_MAX = 15;

const STATES = { not_started: "Not started", open: "Open", ended: "Ended" };

const ROOM_TEXTS = {
  not_started: "The room is not open yet. Whoever comes waits in the line until you open it.",
  open: "The room is open. It stays open when you close this page.",
  ended: "The webinar has ended.",
};

const ENDED = { host: "A host ended the webinar.", api: "The webinar was ended by the platform.", idle: "The webinar ended because nobody was in it." };

/** @type {Record<import("./capacity.js").StopReason, { title: string, text: string }>} */
const STOPPED = {
  left: { title: "You have left this page's connection", text: "Reload the page to see the room again." },
  replaced: { title: "Open somewhere else", text: "Reload the page to see the room here." },
  ended: { title: "The webinar has ended", text: "Everybody has been told." },
  token: { title: "This link does not work any more", text: "It has expired, or it is not complete. Please open the page from your webinar platform again." },
  unknown_account: { title: "This account is not known here", text: "No plan has been set up for it yet." },
  bug: { title: "Something went wrong", text: "This page and the service did not understand each other. Please reload the page." },
};

const token = tokenOfPage();
const claims = claimsOf(token);
const client = new CapacityClient({ token });
const clock = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** @type {import("./capacity.js").Occupancy | null} */
let room = null;
/** @type {import("./capacity.js").NearFull | null} what was told last and is not cleared */
let warning = null;
/** @type {import("./capacity.js").SeatLimit | null} the last change, until the next warning */
let change = null;
/** @type {ReturnType<typeof setTimeout> | undefined} runs while a raise is fresh */
let freshTimer;
/** @type {import("./capacity.js").StopReason | null} */
let stopped = null;
/** The level and limit that were told last: a reconnected page is told again what it knows. */
let told = "";
let upgrading = false;
let upgradeRefusal = "";
/** @type {ReturnType<typeof setTimeout> | undefined} */
let upgradeTimer;

/** @param {import("./capacity.js").Occupancy} occupancy */
function showRoom(occupancy) {
  room = occupancy;
  write("state", STATES[occupancy.state]);
  element("state").dataset.state = occupancy.state;
  write("occupied", number(occupancy.occupied));
  write("of-limit", `of ${count(occupancy.seat_limit, "seat", "seats")} taken`);
  for (const name of /** @type {const} */ (["seated", "away", "held", "free", "waiting", "peak"])) {
    write(name, number(occupancy[name]));
  }
  // After the limit was lowered more may be in the room than it has seats: the bar is then full, not longer.
  const whole = Math.max(occupancy.seat_limit, occupancy.occupied, 1);
  for (const name of /** @type {const} */ (["seated", "away", "held"])) {
    element(`bar-${name}`).style.inlineSize = `${(100 * occupancy[name]) / whole}%`;
  }
  const gauge = element("gauge");
  gauge.ariaValueMax = String(occupancy.seat_limit);
  gauge.ariaValueNow = String(Math.min(occupancy.occupied, occupancy.seat_limit));
  gauge.ariaValueText = `${number(occupancy.occupied)} of ${count(occupancy.seat_limit, "seat", "seats")} taken`;
  write("room-text", ROOM_TEXTS[occupancy.state]);
  element("open").toggleAttribute("hidden", occupancy.state !== "not_started");
  element("end").toggleAttribute("hidden", occupancy.state !== "open");
  if (occupancy.state === "open") write("refusal", "");
  document.title = `${number(occupancy.occupied)}/${number(occupancy.seat_limit)} · ${occupancy.room}`;
  showBanner();
}

/** The banner has its place from the start and only changes its words and colour, so nothing on the page moves. */
function showBanner() {
  const { level, title, text } = bannerTexts();
  element("banner").dataset.level = level;
  write("banner-title", title);
  write("banner-text", text);
  const offer = stopped === null && freshTimer === undefined ? (warning?.upgrade ?? null) : null;
  const mayBuy = claims?.billing === true;
  element("upgrade").toggleAttribute("hidden", offer === null || !mayBuy);
  element("ask").toggleAttribute("hidden", offer === null || mayBuy);
  const upgrade = /** @type {HTMLButtonElement} */ (element("upgrade"));
  upgrade.disabled = upgrading;
  write("upgrade", upgrading ? "Upgrading…" : "Upgrade");
}

/** @returns {{ level: string, title: string, text: string }} */
function bannerTexts() {
  if (stopped !== null) return { level: "calm", ...STOPPED[stopped] };
  if (room === null) return { level: "calm", title: "One moment…", text: "" };
  const waiting = room.waiting > 0 ? count(room.waiting, "person waits", "people wait") : "nobody waits yet";
  if (warning !== null && freshTimer === undefined) {
    const offer = upgradeRefusal || (warning.upgrade === null ? "" : offerText(warning.upgrade));
    if (warning.level === "full") return { level: "full", title: `The room is full: ${waiting}`, text: offer };
    const soon = warning.full_in_seconds === null ? "" : ` At this rate it is full in ${duration(warning.full_in_seconds)}.`;
    const title = `Nearly full: ${count(room.free, "seat is", "seats are")} left`;
    return { level: "near_full", title, text: `${offer}${soon}` };
  }
  if (change !== null) return { level: change.seat_limit > change.previous ? "good" : "calm", ...changeTexts(change, room) };
  if (room.state === "not_started") {
    const waits = room.waiting === 0 ? "Nobody waits yet." : `${count(room.waiting, "person waits", "people wait")} for you to open it.`;
    return { level: "calm", title: "The room is not open yet", text: waits };
  }
  return { level: "calm", title: `${count(room.free, "seat is", "seats are")} free`, text: "You are told here when the room is nearly full." };
}

/**
 * @param {import("./capacity.js").SeatLimit} change
 * @param {import("./capacity.js").Occupancy} room
 * @returns {{ title: string, text: string }}
 */
function changeTexts({ seat_limit, previous }, { waiting, held, free }) {
  const rose = seat_limit > previous;
  const title = `The seat limit ${rose ? "rose" : "fell"} from ${number(previous)} to ${number(seat_limit)}`;
  if (!rose) return { title, text: "Nobody is put out. Nobody new is let in until there is room again." };
  if (held > 0) return { title, text: `${count(held, "person", "people")} from the line ${held === 1 ? "is" : "are"} being let in.` };
  if (waiting > 0) return { title, text: `${count(waiting, "person waits", "people wait")} for the next seat.` };
  return { title, text: `Everybody is in, and ${count(free, "seat is", "seats are")} free.` };
}

/** @param {string} text */
function addNews(text) {
  const entry = document.createElement("li");
  const time = document.createElement("time");
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = clock.format(now);
  entry.append(time, ` ${text}`);
  const list = element("news");
  if (list.querySelector("time") === null) list.replaceChildren();
  list.prepend(entry);
  while (list.children.length > NEWS_MAX) list.lastElementChild?.remove();
}

/** @param {import("./capacity.js").NearFull} message */
function showWarning(message) {
  const full = message.level === "full";
  if (message.room !== claims?.room) {
    // The account's other rooms are told to who may buy: the same plan serves them all.
    addNews(`The room ${message.room} is ${full ? "full" : "nearly full"}: ${number(message.occupied)} of ${count(message.seat_limit, "seat", "seats")} taken.`);
    return;
  }
  const text = full ? "The room is full." : `The room is nearly full: ${number(message.occupied)} of ${number(message.seat_limit)} seats taken.`;
  const known = told === `${message.level} ${message.seat_limit}`;
  told = `${message.level} ${message.seat_limit}`;
  warning = message;
  if (freshTimer === undefined) change = null;
  showBanner();
  if (known) return;
  addNews(text);
  announce(text);
}

/** @param {import("./capacity.js").SeatLimit} message */
function showChange(message) {
  const rose = message.seat_limit > message.previous;
  const text = `The seat limit ${rose ? "rose" : "fell"} from ${number(message.previous)} to ${number(message.seat_limit)}.`;
  change = message;
  clearTimeout(freshTimer);
  freshTimer = undefined;
  if (rose) {
    warning = null; // what still stands is told once more, with the new numbers
    freshTimer = setTimeout(() => {
      freshTimer = undefined;
      if (warning !== null) change = null;
      showBanner();
    }, FRESH_MS);
  }
  upgradeIsOver();
  if (room !== null) room = { ...room, seat_limit: message.seat_limit, free: Math.max(0, message.seat_limit - room.occupied) };
  addNews(text);
  announce(text);
  if (room !== null) showRoom(room);
}

function upgradeIsOver() {
  upgrading = false;
  upgradeRefusal = "";
  clearTimeout(upgradeTimer);
}

async function upgrade() {
  if (warning === null || warning.upgrade === null) return;
  upgrading = true;
  upgradeRefusal = "";
  showBanner();
  try {
    if (await followOffer(warning.upgrade, token)) {
      // The new limit comes as a message. Should it not, the button must not stay shut for ever.
      upgradeTimer = setTimeout(() => refuseUpgrade("The upgrade takes longer than usual. You need not buy it again."), UPGRADE_SECONDS_MAX * 1_000);
      return;
    }
    upgradeIsOver();
    showBanner();
  } catch (error) {
    refuseUpgrade(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} text */
function refuseUpgrade(text) {
  upgradeIsOver();
  upgradeRefusal = text;
  showBanner();
  announce(text);
}

/** @param {"open" | "end" | "request_upgrade"} type */
function say(type) {
  write("refusal", client.send(type) ? "" : "There is no connection at the moment. Please try again when it is back.");
}

function ask() {
  say("request_upgrade");
  if (client.connected) addNews("You asked those who may buy for more seats.");
}

client.on("occupancy", showRoom);
client.on("near_full", showWarning);
client.on("near_full_cleared", () => {
  told = "";
  if (warning === null) return; // a raise has cleared it, and is the better news
  warning = null;
  addNews("The room is no longer nearly full.");
  showBanner();
});
client.on("seat_limit", showChange);
client.on("upgrade_requested", (message) => {
  const text = `${message.name ?? message.participant} asks for more seats in ${message.room}.`;
  addNews(text);
  announce(text);
});
client.on("ended", ({ reason }) => {
  addNews(ENDED[reason] ?? ENDED.api);
  if (room !== null) showRoom({ ...room, state: "ended" });
});
client.on("error", ({ code, message }) => {
  write("refusal", code === "concurrent_sessions_reached" ? `${message} Then open this room again.` : message);
});
client.on("connection", (connection) => {
  writeConnection(connection, "Everybody keeps their seats and places.");
  if (connection.state === "connected") warning = null; // what stands is told again on connecting
  if (connection.stop === undefined) return;
  stopped = connection.stop;
  for (const id of ["open", "end"]) element(id).toggleAttribute("hidden", true);
  if (room === null) {
    write("state", "–");
    write("room-text", STOPPED[stopped].text);
  }
  showBanner();
  announce(STOPPED[stopped].title);
});

const endDialog = /** @type {HTMLDialogElement} */ (element("end-dialog"));
onPress("open", () => say("open"));
onPress("end", () => endDialog.showModal());
onPress("end-no", () => endDialog.close());
onPress("end-yes", () => {
  endDialog.close();
  say("end");
});
onPress("upgrade", upgrade);
onPress("ask", ask);
followTheAddress();

/** @param {string} title @param {string} text */
function showNoConnection(title, text) {
  write("state", "–");
  write("banner-title", title);
  write("banner-text", text);
  write("room-text", text);
  writeConnection({ state: "stopped" }, "");
}

write("room", claims?.room ?? "Webinar");
/** @type {HTMLAnchorElement} */ (element("account")).href = `/account#${token}`;
if (claims === null) showNoConnection("This link is not complete", "Please open the page from your webinar platform again.");
else if (claims.role !== "host") showNoConnection("This is not a host's link", "An attendee's link belongs to the page /join.");
else client.connect();
