// The one verdict on a channel's projections: what it is called, and what it rests on.

import { count, h, number } from "../shared/elements.js";
import { atlas } from "./data.js";

/**
 * What the verdicts are called; the signs differ in shape and not by colour alone.
 * @type {Record<string, { sign: string, name: string, kind: string }>}
 */
export const VERDICTS = {
  specific: { sign: "✓", name: "specific", kind: "good" },
  partly: { sign: "◐", name: "partly specific", kind: "weak" },
  not: { sign: "✕", name: "not specific", kind: "bad" },
  none: { sign: "–", name: "not judged", kind: "none" },
};

/**
 * @typedef {object} Evidence
 * @property {number} images
 * @property {number | null} other_unit
 * @property {number | null} other_image
 * @property {number | null} floor
 * @property {number | null} random
 * @property {{ score: number, other: number | null, random: number | null, questions: number, p: number } | null} reading
 */

/**
 * A verdict as a sign and a word.
 * @param {string} verdict
 */
export function sign(verdict) {
  const { sign: drawn, name, kind } = VERDICTS[verdict];
  return h("span", { class: `sign ${kind}` }, h("span", { "aria-hidden": "true" }, `${drawn} `), name);
}

/**
 * Why there is no verdict.
 * @param {Evidence | undefined} found
 * @param {string} state
 * @param {boolean} shown whether the channel has pictures
 */
function unjudged(found, state, shown) {
  if (state === "dead") return "The channel is dead on these images, so there is no picture to judge.";
  if (!shown) return "There are no pictures of this channel to judge.";
  if (!found) return "Its pictures, or those of other channels at the same places, are blank, or there is no other channel.";
  const { images } = atlas.index.limits;
  return `Its projections could be compared on ${count(found.images)} of its strongest images, and a verdict needs ${count(images)}.`;
}

/**
 * What a verdict means.
 * @param {string} verdict
 * @param {number} share
 */
function meaning(verdict, share) {
  const [partly] = atlas.index.limits.alike; // those of the library
  if (verdict === "specific") return "Its projections are unlike those of other channels at the same places.";
  if (verdict === "not") return "Its projections are like those of other channels at the same places: they show the image more than the channel. Look at the patches.";
  return share > partly
    ? "Its projections are in part like those of other channels at the same places."
    : "Its projections are unlike those of other channels at the same places, but they do not tell which images fire the channel.";
}

/** @param {Evidence["reading"]} reading */
function read(reading) {
  if (!reading) return null;
  const of = (/** @type {number} */ share) => number(Math.round(share * reading.questions * 2) / 2);
  const beside = [["another channel’s", reading.other], ["random weights’", reading.random]].flatMap(
    ([words, share]) => (share === null ? [] : [`from ${words} ${of(Number(share))}`]));
  return `From its projections an observer told ${of(reading.score)} times of ${reading.questions} which of two other images fires the channel (${[...beside, `by chance ${of(0.5)}`].join(", ")}).`;
}

/**
 * A channel's verdict with its reasons.
 * @param {{ verdict: string[], share: (number | null)[] }} data the layer's
 * @param {number} channel
 * @param {{ units: any[], evidence?: Evidence }} details
 * @param {string} state "dead", "always" or ""
 */
export function verdict(data, channel, { units, evidence: found }, state) {
  const said = data.verdict[channel];
  const share = data.share[channel];
  const judged = said !== "none" && found;
  const words = judged ? [meaning(said, share === null ? 1 : share), read(found.reading)] : [unjudged(found, state, units.length > 0)];
  const numbers = judged ? `On average over ${found.images} images, the cosine of its projection is ${number(found.other_unit)} with that of the strongest other channel at the same place, ${number(found.other_image)} with its own on another image, ${number(found.random)} with that of random weights, and ${number(found.floor)} between projections of different channels on different images. 1 means the same picture, 0 an unrelated one.` : "";
  return h("section", { class: "verdict", "aria-label": "Verdict" },
    h("p", null, h("b", null, sign(said)), " ", words.filter(Boolean).join(" ")),
    numbers ? h("details", null, h("summary", null, "Numbers"), h("p", null, numbers)) : null);
}

/**
 * Whether patches come first: where most projections of a layer say little.
 * @param {import("./data.js").Layer} layer
 */
export function patchesFirst(layer) {
  if (!atlas.index.evidence || !layer.verdicts) return false;
  const { specific, partly, not } = layer.verdicts;
  return 2 * specific <= specific + partly + not;
}
