// What the search finds beside layers and channels: classes, labels and files of images, and verdicts.

import { plural } from "../shared/elements.js";
import { atlas } from "./data.js";
import { VERDICTS } from "./evidence.js";

/** @typedef {import("../shared/search.js").Hit} Hit */

/** @type {any[] | null} */
let images = null;
let asked = false;
/** @type {() => void} */
let waiting = () => {};

/** Loads which channels show which image. @param {() => void} again */
function load(again) {
  waiting = again;
  if (asked || atlas.index.unfinished) return;
  asked = true;
  atlas.load("search").then((known) => {
    images = known;
    waiting();
  }, () => {}); // an atlas of an older version
}

/** @param {string} text lower case @returns {Hit[]} */
function ofClasses(text) {
  return atlas.index.layers.flatMap((/** @type {any} */ layer) => layer.names.flatMap((/** @type {string} */ name, /** @type {number} */ channel) =>
    (name.toLowerCase().includes(text) ? [[layer, channel, `channel ${channel}, ${name}`]] : [])));
}

/** @param {string} text lower case @returns {Hit[]} */
function ofVerdicts(text) {
  if (!atlas.index.evidence || text.length < 3) return [];
  const kinds = Object.keys(VERDICTS).filter((kind) => VERDICTS[kind].name.startsWith(text));
  return kinds.flatMap((kind) => atlas.index.layers.filter((/** @type {any} */ layer) => layer.verdicts[kind]).map(
    (/** @type {any} */ layer) => [layer, undefined, `${plural(layer.verdicts[kind], "channel")} ${VERDICTS[kind].name}`, `verdict=${kind}`]));
}

/**
 * Channels whose strongest images have a label or a name with the text, those with most of such images first.
 * @param {string} text lower case
 * @returns {Hit[]}
 */
function ofImages(text) {
  /** @type {Map<string, { layer: any, channel: number, times: number, words: string }>} */
  const counted = new Map();
  for (const [name, label, ...layers] of images || []) {
    const words = label.toLowerCase().includes(text) ? label : name.toLowerCase().includes(text) ? name : "";
    if (!words) continue;
    for (const [number, ...channels] of layers) {
      for (const channel of channels) {
        const key = `${number}/${channel}`;
        const known = counted.get(key) || { layer: atlas.index.layers[number], channel, times: 0, words };
        known.times += 1;
        counted.set(key, known);
      }
    }
  }
  const most = [...counted.values()].sort((a, b) => b.times - a.times).slice(0, 12);
  return most.map(({ layer, channel, times, words }) => [layer, channel, `channel ${channel}, ${times} of ${words}`]);
}

/**
 * @param {string} text
 * @param {() => void} again called when more is known
 * @returns {Hit[]}
 */
export function like(text, again) {
  if (!text || !atlas.index) return [];
  load(again);
  const lower = text.toLowerCase();
  return [...ofClasses(lower), ...ofVerdicts(lower), ...(text.length > 1 && !/^\d+$/.test(text) ? ofImages(lower) : [])];
}
