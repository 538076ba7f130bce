// The layers from input to output, and the units that fire at a place.

import { breakable, by, byId, h, number, percent } from "../shared/elements.js";
import * as search from "../shared/search.js";

/** @type {any[]} */
let known = [];
/** The name of the layer that is shown. */
let own = "";
/** @type {(layer: string, channel: number | null, position: string) => void} */
let chosen = () => {};

/** @param {typeof chosen} choose */
export function attach(choose) {
  chosen = choose;
  search.attach(() => known.filter((one) => one.channels), () => layerOf(own),
    (layer, channel) => chosen(layer.name, channel === undefined ? null : channel, ""));
}

/**
 * @param {any[]} layers
 * @param {string} layer the chosen one
 */
export function show(layers, layer) {
  const list = byId("layers");
  if (layers.length === known.length && list.children.length && layers.every((one, at) => one.name === known[at].name)) {
    known = layers;
    [...list.children].forEach((item, at) => { /** @type {any} */ (item).querySelector("i").style.width = `${100 * layers[at].active}%`; });
  } else {
    known = layers;
    list.replaceChildren(...layers.map(row));
  }
  mark(layer);
}

/** @param {any} one */
function row(one) {
  const bar = h("i");
  bar.style.width = `${100 * one.active}%`;
  const field = one.field ? `sees ${by(one.field)}` : "sees the whole input";
  const button = h("button", { type: "button", disabled: !one.channels, title: `${percent(one.active)} of its values are above zero` },
    h("span", { class: "layer-name" }, ...breakable(one.name || "the whole model")),
    h("span", { class: "muted small" }, `${one.kind} · ${by(one.shape)} · ${field}`),
    h("span", { class: "rate", "aria-hidden": "true" }, bar));
  button.addEventListener("click", () => chosen(one.name, null, ""));
  return h("li", { "data-layer": one.name }, button);
}

/** @param {string} layer */
export function mark(layer) {
  own = layer;
  for (const item of byId("layers").children) {
    const mine = item.dataset.layer === layer;
    item.firstElementChild.toggleAttribute("aria-current", mine);
    if (mine && !item.classList.contains("own")) {
      const list = byId("layers"); // alone: scrolling into view would move the panel, too
      const top = item.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
        list.scrollTop = top - list.clientHeight / 2 + item.offsetHeight / 2;
      }
    }
    item.classList.toggle("own", mine);
  }
}

/** @param {string} name */
export const layerOf = (name) => known.find((one) => one.name === name);

/**
 * The layer so many further on.
 * @param {string} name
 * @param {number} step
 */
export function beside(name, step) {
  const usable = known.filter((one) => one.channels);
  const at = usable.findIndex((one) => one.name === name);
  return usable[at + step] ? usable[at + step].name : "";
}

/**
 * The first layer worth looking at: the first convolution.
 * @returns {string}
 */
export function firstLayer() {
  const one = known.find((layer) => layer.kind.startsWith("Conv")) || known.find((layer) => layer.channels);
  return one ? one.name : "";
}

/**
 * Lists the units that fire at a place of the image.
 * @param {string} at
 * @param {any[]} layers
 * @param {() => void} close
 */
export function showPlace(at, layers, close) {
  const part = byId("at");
  part.hidden = !at;
  if (!at) return;
  const button = h("button", { type: "button" }, "Close");
  button.addEventListener("click", close);
  const [down, right] = at.split(",");
  part.replaceChildren(
    h("div", { class: "row" }, h("h3", { tabindex: "-1" }, `Firing at row ${down}, column ${right}`), button),
    h("ul", { class: "places" }, ...layers.map((one) => h("li", null,
      h("span", { class: "layer-name" }, ...breakable(one.layer)),
      one.units.length
        ? h("span", { class: "row" }, ...one.units.map((/** @type {any} */ unit) => {
          const open = h("button", { type: "button", class: "chip", title: `${number(unit.value)}, ${percent(unit.share)} of the channel’s strongest in this image`, "aria-label": `${one.layer} channel ${unit.channel}, ${number(unit.value)}` },
            h("b", null, String(unit.channel)), ` ${number(unit.value)}`);
          open.addEventListener("click", () => chosen(one.layer, unit.channel, one.position.join(",")));
          return open;
        }))
        : h("span", { class: "muted small" }, "none fires")))),
  );
}
