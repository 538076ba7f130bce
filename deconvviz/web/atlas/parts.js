// What the atlas's pages have in common: the states of channels, links, mosaics and facts.

import { by, count, h, plural } from "../shared/elements.js";
import { paint } from "../shared/pictures.js";
import { atlas } from "./data.js";

/**
 * What a channel's state is called, and what that means (the same in scans, in the atlas and in `diagnose`).
 * @type {Record<string, { name: string, title: string }>}
 */
export const STATES = {
  dead: { name: "dead", title: "Behind its rectifier, above zero at no position of any image; without a rectifier, constant" },
  always: { name: "always on", title: "Behind its rectifier, above zero at every position of every image" },
};

/**
 * The link to a layer's grid or to a channel.
 * @param {import("./data.js").Layer} layer
 * @param {number} [channel]
 * @param {string} [query]
 */
export function link(layer, channel, query) {
  const path = `#/${encodeURIComponent(layer.name)}`;
  return (channel === undefined ? path : `${path}/${channel}`) + (query ? `?${query}` : "");
}

/**
 * How many channels there are, and how many of them have pictures if not all have.
 * @param {import("./data.js").Layer} layer
 */
export function channelCount(layer) {
  const all = plural(layer.channels, "channel");
  return layer.empty.size ? `${all}, ${count(layer.channels - layer.empty.size)} with pictures` : all;
}

/**
 * A channel's mosaic, painted when it comes near the view.
 * @param {import("./data.js").Layer} layer
 * @param {number} channel
 * @param {string} kind
 */
export function mosaic(layer, channel, kind) {
  if (layer.empty.has(channel)) return h("span", { class: "mosaic empty" });
  const element = h("span", { class: "mosaic" });
  element.style.aspectRatio = `${layer.cell[1]} / ${layer.cell[0]}`;
  actions.set(element, () => paint(element, atlas.cell(layer, channel, kind)));
  near.observe(element);
  return element;
}

/** @type {WeakMap<Element, () => void>} */
const actions = new WeakMap();
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const action = actions.get(target);
    if (action) action();
    actions.delete(target);
  }
}, { rootMargin: "200px" });

/**
 * Facts about a layer, as [term, text] pairs.
 * @param {import("./data.js").Layer} layer
 * @returns {[string, string][]}
 */
export function facts(layer) {
  /** @type {[string, string][]} */
  const said = [["kind", layer.kind === "cat" ? "concatenation" : layer.kind], ["shape", by(layer.shape)]];
  said.push(["receptive field", layer.field && layer.field.length ? `${by(layer.field)} pixels` : "the whole input"]);
  if (layer.stride && layer.stride.length) said.push(["stride", `${by(layer.stride)} pixels`]);
  if (layer.linearised.length) said.push(["linearised", layer.linearised.join(", ")]);
  if (layer.detached.length) said.push(["passed, though detached", layer.detached.join(", ")]);
  return said;
}
