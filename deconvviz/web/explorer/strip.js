// Strips of images to choose from: those of the data set, some at a time, and one's own.

import { byId, count, h } from "../shared/elements.js";
import { blobOf, paintCell } from "../shared/pictures.js";
import { Superseded } from "../shared/refusals.js";
import { ask, orSay } from "./server.js";

const AT_ONCE = 24;
let first = -1;
let wanted = -1; // the first of those that were asked for last
let total = 0;
/** @type {(image: string) => void} */
let chosen = () => {};
/** The pictures of a strip, by its id. @type {Map<string, string>} */
const urls = new Map();
let marked = "";

/** @typedef {{ image: string, words: string }} Item */

/**
 * @param {{ name: string, count: number } | null} dataset
 * @param {(image: string) => void} choose
 */
export function attach(dataset, choose) {
  chosen = choose;
  if (!dataset) return;
  total = dataset.count;
  byId("strip-part").hidden = false;
  byId("strip-title").textContent = `${dataset.name} (${count(total)})`;
  byId("from").max = String(total - 1);
  const go = (/** @type {number} */ start) => orSay(load(start));
  byId("earlier").addEventListener("click", () => go(wanted - AT_ONCE));
  byId("later").addEventListener("click", () => go(wanted + AT_ONCE));
  byId("from").addEventListener("change", () => go(Math.floor(Number(byId("from").value)) || 0));
}

/**
 * Fills a strip.
 * @param {string} id
 * @param {Item[]} items
 * @param {any} sprite their pictures, in the same order
 */
function fill(id, items, sprite) {
  const before = urls.get(id);
  const url = blobOf(sprite.url);
  urls.set(id, url);
  byId(id).replaceChildren(...items.map(({ image, words }, cell) => {
    const button = h("button", { type: "button", class: "thumb", title: words, "aria-label": `Image ${words}`, "data-image": image });
    paintCell(button, { ...sprite, url }, cell);
    button.addEventListener("click", () => chosen(image));
    return h("li", null, button);
  }));
  if (before) URL.revokeObjectURL(before);
  mark(marked);
}

/** @param {number} from the first of those that are wanted */
function want(from) {
  wanted = from;
  byId("earlier").disabled = from <= 0;
  byId("later").disabled = from + AT_ONCE >= total;
}

/** @param {number} start */
async function load(start) {
  const from = Math.max(0, Math.min(start, total - 1));
  byId("from").value = String(from); // now, so that what is written there later stays
  if (from === wanted) return;
  want(from);
  try {
    const found = await ask("dataset", { start: from, count: AT_ONCE });
    first = from;
    fill("strip", found.items.map((/** @type {[number, string, string]} */ [number, name, label]) =>
      ({ image: `data-${number}`, words: label ? `${name}, ${label}` : name })), found.sprite);
  } catch (error) {
    if (wanted === from) want(first);
    if (!(error instanceof Superseded)) throw error;
  }
}

/** Shows the images that were given, the newest first. */
export async function showOwn() {
  try {
    const found = await ask("own", {});
    byId("own-part").hidden = !found.items.length;
    fill("own", found.items.map((/** @type {[string, string]} */ [image, words]) => ({ image, words })), found.sprite);
  } catch (error) {
    if (!(error instanceof Superseded)) throw error;
  }
}

/**
 * Marks the image that is shown.
 * @param {string} image
 */
export function mark(image) {
  marked = image;
  for (const id of ["strip", "own"]) {
    for (const button of byId(id).querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.image === image));
    }
  }
}

/**
 * Shows the strip in which an image lies.
 * @param {string} image
 */
export async function showAround(image) {
  if (!total) return;
  const number = /^data-(\d+)$/.exec(image);
  const at = number ? Number(number[1]) : Math.max(wanted, 0);
  if (wanted < 0 || (number && (at < wanted || at >= wanted + AT_ONCE))) await load(at - (at % AT_ONCE));
}

/**
 * The image so many further in the data set; "" if there is none.
 * @param {string} image
 * @param {number} step
 */
export function beside(image, step) {
  const number = /^data-(\d+)$/.exec(image);
  const next = number ? Number(number[1]) + step : 0;
  return total && next >= 0 && next < total ? `data-${next}` : "";
}
