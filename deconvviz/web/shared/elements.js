// Elements, numbers and words. All text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined} Child */

/**
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, any> | null} attributes
 * @param {(Child | Child[])[]} children
 * @returns {E}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

/**
 * An element with attributes and children, which are elements or text.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export const h = (tag, attributes = null, ...children) => fill(document.createElement(tag), attributes, children);

/**
 * The same for drawings.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 */
export const s = (tag, attributes = null, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/**
 * The element with an id, which the page has.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * Three digits, in the shortest of the usual ways.
 * @param {number | null} value
 */
export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2).replace("-", "−").replace("e+", "e");
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

/** @param {number | null} share */
export function percent(share) {
  if (share === null) return "–";
  if (share > 0 && share < 0.0001) return "< 0.01 %";
  const digits = share >= 0.1 || share === 0 ? 0 : share >= 0.01 ? 1 : 2;
  return share < 1 && share > 0.99 ? `${(Math.floor(share * 1e4) / 100).toFixed(2)} %` : `${(100 * share).toFixed(digits)} %`;
}

/** @param {number} value */
export const count = (value) => value.toLocaleString("en");

/** @param {number} value @param {string} word */
export const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;

/** @param {number[]} shape whole numbers are written out, whatever they are */
export const by = (shape) => shape.map((side) => (Number.isInteger(side) ? count(side) : number(side))).join(" × ");

/**
 * A name that may go on in a new line after its dots and slashes.
 * @param {string} name
 */
export const breakable = (name) => name.split(/(?<=[./_])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

/** @param {number} part */
export const percentage = (part) => `${Number((100 * part).toFixed(4))}%`;

/**
 * Terms and what is said of them.
 * @param {[string, Child | Child[]][]} list
 * @param {string} [className]
 */
export const pairs = (list, className) =>
  h("dl", { class: className }, ...list.map(([term, said]) => h("div", null, h("dt", null, term), h("dd", null, said))));
