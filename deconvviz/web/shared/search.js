// The search for a layer and a channel: "features.3 17", "features.3/17", "17" within a layer, "conv" for all such.

import { byId, h, plural } from "./elements.js";

const MOST = 12;

/** @typedef {{ name: string, channels: number }} Layer */
/** @typedef {[layer: any, channel: number | undefined, words?: string, query?: string]} Hit */

/**
 * Layers that a text means, the likeliest first: those named so, those that start so, those that contain its words.
 * @param {string} text
 * @param {Layer[]} layers
 */
function layersLike(text, layers) {
  const wanted = text.toLowerCase();
  const words = wanted.split(/\s+/);
  const rank = (/** @type {Layer} */ layer) => {
    const name = layer.name.toLowerCase();
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : words.every((word) => name.includes(word)) ? 2 : 3;
  };
  const ranked = layers.map((layer, at) => ({ order: rank(layer), layer, at })).filter((one) => one.order < 3);
  return ranked.sort((a, b) => a.order - b.order || a.at - b.at).map((one) => one.layer);
}

/**
 * Layers and channels that a text means, the likeliest first.
 * @param {string} text
 * @param {Layer[]} layers
 * @param {Layer | undefined} here the layer that is shown
 * @returns {Hit[]}
 */
export function find(text, layers, here) {
  const words = text.trim();
  if (!words) return [];
  const split = /^(.*?)[\s/#:]*?(?:channel\s*)?(\d{1,9})$/i.exec(words);
  /** @type {Hit[]} */
  const channels = [];
  if (split) {
    const channel = Number(split[2]);
    const name = split[1].trim();
    const named = name && /[\s/#:]\S*$/.test(words) ? layersLike(name, layers) : /^\d+$/.test(words) && here ? [here] : [];
    for (const layer of named) if (channel < layer.channels) channels.push([layer, channel]);
  }
  const whole = layersLike(words, layers).map((layer) => /** @type {Hit} */ ([layer, undefined]));
  const called = (/** @type {string} */ text) => (/** @type {Hit} */ [layer]) => layer.name.toLowerCase() === text.trim().toLowerCase();
  const sure = [...whole.filter(called(words)), ...channels.filter(called(split ? split[1] : ""))]; // "conv1 1" also contains conv1's words
  return [...sure, ...[...whole, ...channels].filter((hit) => !sure.includes(hit))].slice(0, MOST);
}

/** Whether somebody writes in the page's search, which a page that comes late leaves alone. */
export const isUsed = () => document.activeElement === byId("search");

/**
 * Makes the page's field a search.
 * @param {() => Layer[]} layers
 * @param {() => Layer | undefined} here the layer that is shown
 * @param {(layer: any, channel: number | undefined, query?: string) => void} open
 * @param {(text: string, again: () => void) => Hit[]} [more] what else a text may mean; `again` is called when more is known
 * @returns {() => void} to be called when the layers, none before, are known
 */
export function attach(layers, here, open, more = () => []) {
  /** @type {HTMLInputElement} */
  const input = byId("search");
  const list = byId("found");
  /** @type {Hit[]} */
  let hits = [];
  let active = 0;
  let entered = false; // before the layers are known

  function mark(/** @type {number} */ to) {
    active = Math.max(0, Math.min(hits.length - 1, to));
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(hits.length > 0 && at === active)));
    if (hits.length) {
      input.setAttribute("aria-activedescendant", `found-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function update() {
    hits = [...find(input.value, layers(), here()), ...more(input.value.trim(), again)].slice(0, MOST);
    const items = hits.map(([layer, channel, said], at) => {
      const words = said || (channel === undefined ? plural(layer.channels, "channel") : `channel ${channel}`);
      return h("li", { role: "option", id: `found-${at}`, "data-at": at }, h("b", null, layer.name), " ", h("span", { class: "muted" }, words));
    });
    const none = Boolean(input.value.trim()) && !hits.length && layers().length > 0;
    list.replaceChildren(...(none ? [h("li", { class: "muted", role: "option", "aria-disabled": "true" }, "nothing is called that")] : items));
    reveal(hits.length > 0 || none);
    mark(0);
  }

  /** More is known. */
  function again() {
    if (!isUsed()) return;
    update();
    if (entered) go(0);
  }

  function reveal(/** @type {boolean} */ shown) {
    list.hidden = !shown;
    input.setAttribute("aria-expanded", String(shown));
  }

  function go(/** @type {number} */ at) {
    if (!hits[at]) return;
    const [layer, channel, , query] = hits[at];
    input.value = "";
    update();
    input.blur();
    open(layer, channel, query);
  }

  for (const kind of ["input", "blur"]) input.addEventListener(kind, () => { entered = false; });
  input.addEventListener("input", update);
  input.addEventListener("focus", () => {
    input.select();
    update();
  });
  input.addEventListener("blur", () => reveal(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) mark(active + step);
    else if (event.key === "Enter") {
      entered = !layers().length;
      go(active);
    }
    else if (event.key === "Escape") input.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    const item = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-at]"));
    event.preventDefault(); // the focus stays in the input until the hit is opened
    if (item) go(Number(item.dataset.at));
  });
  return again;
}
