// @ts-check
/**
 * The frame of our own pages: they take their token from the address's fragment, which never reaches a server, and give
 * it to their elements; the menu under the picture; the language. `?lang=` chooses another than the browser's.
 */

import "./capacity.js";
import { claimsOf } from "./client.js";
import { LANGUAGES, languageFor, Texts } from "./texts.js";

export const token = location.hash.slice(1);
export const claims = claimsOf(token);
export const language = languageFor(new URLSearchParams(location.search).get("lang"));

/** @param {string} id @returns {HTMLElement} */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element #${id}.`);
  return found;
}

/** Another page of ours, in the same language. @param {string} path */
function pageOf(path) {
  return `${path}${location.search}#${token}`;
}

/**
 * Writes the page's own texts, those with `data-text`, and gives the elements token and language.
 * @param {readonly import("./texts.js").SetName[]} sets
 * @returns {Promise<Texts>}
 */
export async function page(...sets) {
  document.documentElement.lang = language;
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-capacity]"))) {
    part.lang = language;
    part.setAttribute("token", token);
  }
  // Another link pasted over this one is another visit: browsers do not reload for a changed fragment by themselves.
  addEventListener("hashchange", () => location.reload());
  const t = await Texts.load(language, ["common", ...sets]);
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) part.textContent = t.say(part.dataset.text ?? "");
  languages(t);
  if (claims !== null && document.querySelector(".menu") !== null) menu();
  return t;
}

/** @param {Texts} t */
function languages(t) {
  const label = document.createElement("label");
  const select = document.createElement("select");
  for (const [tag, name] of Object.entries(LANGUAGES)) select.add(new Option(name, tag, false, tag === language));
  select.onchange = () => {
    const url = new URL(location.href);
    url.searchParams.set("lang", select.value);
    location.assign(url);
  };
  label.append(`${t.say("language")} `, select);
  document.querySelector("footer")?.append(label);
}

/** The menu under the picture: a button that shows and hides a list of links. */
function menu() {
  const button = /** @type {HTMLButtonElement} */ (element("picture"));
  const list = element("menu");
  button.parentElement?.removeAttribute("hidden");
  const name = claims?.name ?? claims?.sub ?? "";
  element("initials").textContent = initials(name);
  element("name").textContent = name;
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (list.querySelectorAll("a"))) link.href = pageOf(new URL(link.href).pathname);
  const show = (/** @type {boolean} */ open) => {
    list.hidden = !open;
    button.ariaExpanded = String(open);
  };
  show(false);
  button.onclick = () => show(Boolean(list.hidden));
  list.onclick = () => show(false);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || list.hidden) return;
    show(false);
    button.focus();
  });
  for (const type of ["focusin", "pointerdown"]) {
    addEventListener(type, ({ target }) => {
      if (!list.hidden && !button.parentElement?.contains(/** @type {Node} */ (target))) show(false);
    });
  }
}

/** @param {string} name */
function initials(name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  return [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => [...(word ?? "")][0] ?? "").join("").toUpperCase();
}
