// @ts-check
/**
 * Words, numbers, instants and money in the reader's language. The texts stand in `texts/LANGUAGE/SET.js`; each is a
 * sentence with places `{name}`, or one for each plural category of the number `n` (CLDR, `Intl.PluralRules`).
 */

/** @typedef {Record<string, string | Partial<Record<Intl.LDMLPluralRule, string>>>} Set */
/** @typedef {"common" | "waiting" | "host" | "desk" | "account" | "card"} SetName */

const AGAIN_MS = 2_000;

/** Languages by their own names. */
export const LANGUAGES = Object.freeze({ en: "English", de: "Deutsch", es: "Español", pl: "Polski", ru: "Русский" });

/**
 * Digits of the minor unit (ISO 4217) where they are not two. Browsers take theirs from CLDR, which differs.
 * @type {ReadonlyArray<[number, string]>}
 */
const MINOR_DIGITS = [
  [0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"],
  [3, "BHD IQD JOD KWD LYD OMR TND"],
  [4, "CLF UYW"],
];

/**
 * The first language that we speak of those wanted, in order.
 * @param {...(string | null | undefined)} wanted BCP 47 tags; by default those of the browser
 * @returns {keyof typeof LANGUAGES}
 */
export function languageFor(...wanted) {
  for (const tag of [...wanted, ...navigator.languages]) {
    const language = tag?.split("-")[0].toLowerCase();
    if (language && Object.hasOwn(LANGUAGES, language)) return /** @type {keyof typeof LANGUAGES} */ (language);
  }
  return "en";
}

export class Texts {
  #texts;
  #plurals;

  /** @param {string} language @param {Set} texts */
  constructor(language, texts) {
    this.language = language;
    this.#texts = texts;
    this.#plurals = new Intl.PluralRules(language);
  }

  /**
   * Loads texts, however often it takes: a page that is there must not stay without words because the network failed.
   * @param {string} language
   * @param {readonly SetName[]} sets
   * @returns {Promise<Texts>}
   */
  static async load(language, sets, attempt = 0) {
    try {
      // A module that failed to load is not asked for again under the same address.
      const load = (/** @type {SetName} */ set) => (attempt === 0 ? import(`./texts/${language}/${set}.js`) : import(`./texts/${language}/${set}.js?${attempt}`));
      const modules = await Promise.all(sets.map(load));
      return new Texts(language, Object.assign({}, ...modules.map((module) => module.default)));
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      return Texts.load(language, sets, attempt + 1);
    }
  }

  /**
   * A text. Numbers are written as the language writes them; the number `n` chooses the plural.
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   * @returns {string}
   */
  say(key, values = {}) {
    const found = this.#texts[key];
    const text = typeof found === "object" ? (found[this.#plurals.select(Number(values.n))] ?? found.other) : found;
    if (text === undefined) console.error(`There is no text ${key} in ${this.language}.`);
    return (text ?? key).replace(/\{(\w+)\}/g, (place, name) => {
      const value = values[name] ?? place;
      return typeof value === "number" ? this.number(value) : value;
    });
  }

  /** Whether there is such a text. @param {string} key */
  has(key) {
    return key in this.#texts;
  }

  /** @param {number} value @param {Intl.NumberFormatOptions} [options] */
  number(value, options) {
    return new Intl.NumberFormat(this.language, options).format(value);
  }

  /** @param {import("./types.js").Money} money @returns {string} */
  price({ amount, currency }) {
    const digits = MINOR_DIGITS.find(([, currencies]) => currencies.includes(currency))?.[0] ?? 2;
    const exact = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return this.number(amount / 10 ** digits, { style: "currency", currency, ...exact });
  }

  /**
   * An instant as a day, `long` or `medium`, or as a `time` of today.
   * @param {string | number} instant
   * @param {"long" | "medium" | "time"} [form]
   */
  date(instant, form = "long") {
    return new Intl.DateTimeFormat(this.language, form === "time" ? { timeStyle: "short" } : { dateStyle: form }).format(new Date(instant));
  }

  /** A duration as one would say it: an estimate is no more exact than this. @param {number} seconds @returns {string} */
  duration(seconds) {
    if (seconds < 50) return this.say("under_a_minute");
    const unit = seconds < 3_570 ? "minute" : "hour";
    return this.number(Math.round(seconds / (unit === "minute" ? 60 : 3_600)), { style: "unit", unit, unitDisplay: "long" });
  }
}
