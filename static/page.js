// @ts-check
/**
 * What the pages share: finding their elements, putting text into them, and saying numbers, durations and money.
 * Whatever came from a server, a token or a person is only ever text (`textContent`), never markup.
 */

export const LANGUAGE = "en";

const numbers = new Intl.NumberFormat(LANGUAGE);
const plurals = new Intl.PluralRules(LANGUAGE);

/**
 * The element of this id. Every page has all the elements its module asks for; a missing one is a bug.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element #${id}.`);
  return found;
}

/**
 * @param {string} id
 * @param {string} text
 */
export function write(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Shows the one of some elements that carries this name in `attribute`, and hides the others.
 * @param {string} attribute
 * @param {string} name
 */
export function show(attribute, name) {
  for (const part of document.querySelectorAll(`[${attribute}]`)) {
    part.toggleAttribute("hidden", part.getAttribute(attribute) !== name);
  }
}

/**
 * Tells a screen reader, once per text. What changes with every tick does not belong here.
 * @param {string} text
 */
export function announce(text) {
  write("announcer", text);
}

/**
 * @param {string} id of a button
 * @param {() => void} action
 */
export function onPress(id, action) {
  element(id).addEventListener("click", action);
}

/** @param {number} value @returns {string} */
export function number(value) {
  return numbers.format(value);
}

/**
 * @param {number} value
 * @param {string} one as in "1 seat"
 * @param {string} other as in "2 seats"
 * @returns {string}
 */
export function count(value, one, other) {
  return `${number(value)} ${plurals.select(value) === "one" ? one : other}`;
}

/**
 * A duration as one would say it: an estimate is no more exact than this.
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (seconds < 50) return "less than a minute";
  if (seconds < 3_600) return count(Math.round(seconds / 60), "minute", "minutes");
  return count(Math.round(seconds / 3_600), "hour", "hours");
}

/**
 * @param {import("./capacity.js").Money} money
 * @returns {string}
 */
export function price(money) {
  const format = new Intl.NumberFormat(LANGUAGE, { style: "currency", currency: money.currency });
  return format.format(money.amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

/**
 * The line at the foot of a page that says how the connection is doing; `kept` is what the reader does not lose by it.
 * @param {import("./capacity.js").Connection} connection
 * @param {string} kept
 */
export function writeConnection(connection, kept) {
  element("connection").dataset.state = connection.state;
  write("connection", connectionText(connection, kept));
}

/**
 * @param {import("./capacity.js").Connection} connection
 * @param {string} kept
 * @returns {string}
 */
function connectionText({ state, code, reason }, kept) {
  if (state === "connected") return "Connected";
  if (state === "connecting") return "Connecting…";
  if (state === "stopped") return "Not connected";
  if (code === 1012) return `The service is restarting. ${kept} Reconnecting…`;
  if (reason === "overloaded" || code === 4429) return `The service is busy. ${kept} Trying again…`;
  if (reason === "unavailable") return `The service is not available at the moment. ${kept} Trying again…`;
  return `The connection was lost. ${kept} Reconnecting…`;
}

/** Another link pasted over this one is another visit: browsers do not reload for a changed fragment by themselves. */
export function followTheAddress() {
  addEventListener("hashchange", () => location.reload());
}
