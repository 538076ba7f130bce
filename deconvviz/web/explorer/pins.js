// Up to four units side by side. A pin follows the image that is shown, or keeps its own.

import { breakable, byId, h, number } from "../shared/elements.js";
import { picture } from "../shared/pictures.js";
import { Refused } from "../shared/refusals.js";
import { ask } from "./server.js";

export const MOST = 4;

/** @typedef {import("./address.js").Pin} Pin */

/** @type {{ remove: (at: number) => void, keep: (at: number) => void, open: (at: number) => void }} */
let heard;

/** @param {typeof heard} what */
export function attach(what) {
  heard = what;
}

/**
 * The place of the unit of a view among the pinned ones; -1 if it is not pinned.
 * @param {any} view
 * @returns {number}
 */
export const placeOf = (view) => view.pins.findIndex((/** @type {Pin} */ pin) =>
  pin.layer === view.layer && pin.channel === view.channel && pin.position === view.position && (!pin.image || (pin.image === view.image && pin.shift === view.shift)));

/** @param {HTMLElement} list */
const usable = (list) => /** @type {HTMLElement[]} */ ([...list.querySelectorAll("button, input")]);

/**
 * @param {any} view
 * @param {boolean} moved whether only the image has changed, so that pins that keep their own stay
 */
export async function show(view, moved) {
  const list = byId("pins");
  byId("pins-part").hidden = !view.pins.length;
  const keys = view.pins.map((/** @type {Pin} */ pin) => JSON.stringify(pin));
  const before = [...list.children].map((item) => item.dataset.key);
  const same = keys.length === before.length && keys.every((/** @type {string} */ key, /** @type {number} */ at) => key === before[at]);
  if (!same) {
    const at = usable(list).findIndex((one) => one === document.activeElement);
    list.replaceChildren(...view.pins.map(item));
    if (at >= 0) (usable(list)[at] || usable(list).at(-1) || byId("unit-title")).focus({ preventScroll: true });
  }
  await Promise.all(view.pins.map(async (/** @type {Pin} */ pin, /** @type {number} */ at) => {
    const part = list.children[at];
    if (same && moved && pin.image && part.querySelector("img[src]")) return;
    try {
      const found = await ask("unit", {
        image: pin.image || view.image, shift: pin.image ? pin.shift : view.shift, layer: pin.layer, channel: pin.channel, position: pin.position || null,
      }, `pin ${at}`);
      const [patch, projection] = part.querySelectorAll("img");
      picture(patch, found.patch, `The patch that ${pin.layer} channel ${pin.channel} saw`, found.pixels);
      picture(projection, found.projection, "Its projection", found.pixels);
      part.querySelector(".said").textContent = number(found.value);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      part.querySelector(".said").textContent = error.message;
    }
  }));
}

/** @param {Pin} pin @param {number} at */
function item(pin, at) {
  const name = `${pin.layer} channel ${pin.channel}`;
  const open = h("button", { type: "button", class: "link" }, ...breakable(pin.layer), ` ${pin.channel}`);
  open.addEventListener("click", () => heard.open(at));
  const remove = h("button", { type: "button", "aria-label": `Remove ${name}` }, "×");
  remove.addEventListener("click", () => heard.remove(at));
  const keep = h("input", { type: "checkbox", id: `keep-${at}`, checked: Boolean(pin.image) });
  keep.addEventListener("change", () => heard.keep(at));
  return h("li", { class: "pin", "data-key": JSON.stringify(pin) },
    h("div", { class: "row" }, open, h("b", { class: "said" }), remove),
    h("div", { class: "pair" }, h("img", { alt: "" }), h("img", { alt: "" })),
    h("span", { class: "check small" }, keep, h("label", { for: `keep-${at}` }, "keep this image")));
}
