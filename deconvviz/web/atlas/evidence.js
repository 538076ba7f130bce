// The scores of a channel's projections, as badges with explanations, and the switch to random weights.

import { h, plural } from "../shared/elements.js";
import { atlas } from "./data.js";

/** @typedef {[text: string, kind: string, explanation: string]} Badge */

/** @param {number} value */
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
/** @param {number} value */
const plain = (value) => value.toFixed(2).replace("-", "−");

/** @type {Record<string, string>} */
const UNJUDGED = {
  dead: "The channel is dead on these images, so there is no picture to score.",
  empty: "There are no pictures of this channel to score.",
  gain: "None of its strongest units could be scored: their pictures are blank, they are no more active on their images than on an empty one, or the layer has no feature maps.",
  alike: "None of its strongest units could be scored: their pictures or those of the other channels are blank, or there is no other channel.",
};

/**
 * The insertion score minus that of a random ranking.
 * @param {[number, number]} measured its mean, and the number of units
 * @returns {Badge}
 */
function gain([value, units]) {
  const near = atlas.index.limits.chance;
  const [kind, words, means] = value > near
    ? ["good", "Faithful", "The picture shows pixels that activate the unit."]
    : value < -near
      ? ["bad", "Misleading", "Random pixels activate the unit sooner than those that the picture shows. Do not trust this picture."]
      : ["weak", "No better than random", "The picture finds the pixels that activate the unit no better than a random ranking."];
  return [kind === "weak" ? `${words} (${signed(value)})` : `${words}: ${signed(value)} vs. random`, kind,
    `${means} The pixels that it ranks first were inserted into an empty image, step by step, and compared with as many random pixels. On average over all steps and ${plural(units, "image")}, the unit reached ${plain(Math.abs(value))} of its full activation ${value < 0 ? "less" : "more"} with the picture’s pixels.`];
}

/**
 * The similarity to pictures of other channels.
 * @param {[number, number]} measured its mean, and the number of units
 * @returns {Badge}
 */
function alike([value, units]) {
  const [partly, image] = atlas.index.limits.alike; // those of the library's verdict on selectivity
  const [kind, label, words] = value > image ? ["bad", "Not specific", "shows the image more than the unit"]
    : value > partly ? ["weak", "Partly specific", "is partly specific to the unit"] : ["good", "Specific", "is specific to the unit"];
  return [`${label}: ${plain(value)} similar to other channels`, kind,
    `The picture ${words}. Its rank correlation with the projections of other channels, at the same position of the same image, is ${plain(value)} on average over ${plural(units, "image")}: 1 means the same picture, 0 an unrelated one.`];
}

/**
 * A badge that shows its explanation on hover or focus.
 * @param {string} name
 * @param {Badge} said
 */
function badge(name, [text, kind, explanation]) {
  const id = `why-${name}`;
  const button = h("button", { type: "button", class: `badge ${kind}`, "aria-describedby": id, "data-badge": name }, text);
  button.addEventListener("click", () => button.focus()); // in some browsers, a tap does not focus
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    button.blur();
    event.stopPropagation();
  });
  return [button, h("span", { class: "why", role: "tooltip", id }, explanation)];
}

/**
 * All badges of a channel.
 * @param {any} data the layer's
 * @param {number} channel
 * @param {any[]} units
 * @param {string} state "dead", "always" or ""
 */
export function badges(data, channel, units, state) {
  const without = state === "dead" ? UNJUDGED.dead : units.length ? null : UNJUDGED.empty;
  const judged = (/** @type {string} */ name, /** @type {string} */ words, /** @type {typeof gain} */ describe) => badge(name, data[name][channel]
    ? describe(data[name][channel]) : [`${words}: not scored`, "none", without || UNJUDGED[name]]);
  return [...judged("gain", "Faithfulness", gain), ...judged("alike", "Specificity", alike)];
}

// Whether random weights are shown: set by the address or by the last switch.

let random = false;

export const isRandom = () => random;

export function toggle() {
  random = !random;
}

/**
 * Applies the query of an address.
 * @param {string} query
 */
export function asked(query) {
  if (new URLSearchParams(query).get("weights") === "random") random = true;
}

/** The query of a channel's address. */
export const query = () => (random ? "weights=random" : "");
