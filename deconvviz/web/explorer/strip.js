// The data set's images, a strip at a time.

import { byId, count, h } from "../shared/elements.js";
import { blobOf, paintCell } from "../shared/pictures.js";
import { Superseded } from "../shared/refusals.js";
import { ask } from "./server.js";

const AT_ONCE = 24;
let first = -1;
let total = 0;
/** @type {(image: string) => void} */
let chosen = () => {};
let shownUrl = "";

/**
 * @param {{ name: string, count: number }} dataset
 * @param {(image: string) => void} choose
 */
export function attach(dataset, choose) {
  total = dataset.count;
  chosen = choose;
  byId("strip-part").hidden = false;
  byId("strip-title").textContent = `${dataset.name} (${count(total)})`;
  byId("from").max = String(total - 1);
  byId("earlier").addEventListener("click", () => load(first - AT_ONCE));
  byId("later").addEventListener("click", () => load(first + AT_ONCE));
  byId("from").addEventListener("change", () => load(Math.floor(Number(byId("from").value)) || 0));
}

/** @param {number} start */
async function load(start) {
  const from = Math.max(0, Math.min(start, total - 1));
  if (from === first) return;
  try {
    const found = await ask("dataset", { start: from, count: AT_ONCE });
    first = from;
    byId("from").value = String(from);
    if (shownUrl) URL.revokeObjectURL(shownUrl);
    shownUrl = blobOf(found.sprite.url);
    const sprite = { ...found.sprite, url: shownUrl };
    byId("strip").replaceChildren(...found.items.map((/** @type {[number, string, string]} */ [number, name, label], /** @type {number} */ cell) => {
      const words = label ? `${name}, ${label}` : name;
      const button = h("button", { type: "button", class: "thumb", title: words, "aria-label": `Image ${words}`, "data-image": `data-${number}` });
      paintCell(button, sprite, cell);
      button.addEventListener("click", () => chosen(`data-${number}`));
      return h("li", null, button);
    }));
    mark(marked);
  } catch (error) {
    if (!(error instanceof Superseded)) throw error;
  }
}

let marked = "";

/**
 * Marks the image that is shown, and shows the strip that it lies in.
 * @param {string} image
 */
export function mark(image) {
  marked = image;
  for (const button of byId("strip").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.image === image));
  }
}

/** @param {string} image */
export async function showAround(image) {
  const number = /^data-(\d+)$/.exec(image);
  const at = number ? Number(number[1]) : Math.max(first, 0);
  if (first < 0 || (number && (at < first || at >= first + AT_ONCE))) await load(at - (at % AT_ONCE));
  mark(image);
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
