// The atlas's data. A page opened from the disk may not read files, but it may load scripts: each file of data is a
// script that calls `atlas.receive` with its key.

/**
 * @typedef {object} Layer
 * @property {number} number
 * @property {string} name
 * @property {string} kind
 * @property {number[]} shape
 * @property {number} channels
 * @property {number[] | null} field
 * @property {number[] | null} stride
 * @property {string[]} linearised
 * @property {string[]} detached
 * @property {number} dead
 * @property {number} always
 * @property {number[]} cover
 * @property {Set<number>} empty
 * @property {number} block
 * @property {number[]} tile
 * @property {number[]} cell
 * @property {string[]} names of its channels, where these are classes
 * @property {string} said what holds for its projections
 * @property {Record<string, number>} [verdicts]
 */

const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
const root = script ? script.src.replace(/assets\/[^/]*$/, "") : ""; // elsewhere while the atlas is built anew
/** @type {Map<string, any>} */
const arrived = new Map();
/** @type {Map<string, Promise<any>>} */
const asked = new Map();
/** @type {Map<string, Layer>} */
const byName = new Map();

// What a file of data calls.
/** @type {any} */ (window).atlas = { receive: (/** @type {string} */ key, /** @type {any} */ value) => { arrived.set(key, value); } };

/**
 * A promise of the data of `data/KEY.js`; it fails where the file is missing or broken.
 * @param {string} key
 * @returns {Promise<any>}
 */
function load(key) {
  const before = asked.get(key);
  if (before) return before;
  const coming = new Promise((resolve, reject) => {
    const part = document.createElement("script");
    const failed = () => {
      asked.delete(key);
      reject(new Error(key === "unfinished"
        ? "This atlas is incomplete: building it was interrupted or is still going on. Build it again to repair it."
        : `A part of this atlas is missing (data/${key}.js). Build it again to repair it.`));
    };
    part.src = `${root}data/${key}.js`;
    part.onerror = failed;
    part.onload = () => (arrived.has(key) ? resolve(arrived.get(key)) : failed());
    part.addEventListener("load", () => part.remove());
    document.head.append(part);
  });
  asked.set(key, coming);
  return coming;
}

/** Loads the index; everything below needs it. */
async function open() {
  atlas.index = await load("index").catch(() => load("unfinished")); // the second one while the atlas is being built
  atlas.index.layers.forEach((/** @type {any} */ layer, /** @type {number} */ number) => {
    layer.number = number;
    layer.empty = new Set(layer.empty);
    layer.names = layer.names || [];
    byName.set(layer.name, layer);
  });
}

/**
 * A channel's units, histogram and inputs.
 * @param {Layer} layer
 * @param {number} channel
 */
async function details(layer, channel) {
  const block = Math.floor(channel / layer.block);
  return (await load(`${layer.number}-${block}`))[channel % layer.block];
}

/**
 * The place of a picture in a sheet of at most `across` squared ones.
 * @param {string} file
 * @param {number} first the number of the sheet's first picture
 * @param {number} number
 * @param {number} total
 * @param {number[]} size
 * @returns {import("../shared/pictures.js").Part}
 */
function inSheet(file, first, number, total, [height, width]) {
  const { across, gutter } = atlas.index;
  const cells = Math.min(across ** 2, total - first);
  const columns = Math.min(across, cells);
  const at = number - first;
  return {
    file,
    sheet: [Math.ceil(cells / columns) * (height + gutter), columns * (width + gutter)],
    at: [Math.floor(at / columns) * (height + gutter), (at % columns) * (width + gutter)],
    size: [height, width],
  };
}

/**
 * A channel's mosaic in the grid.
 * @param {Layer} layer
 * @param {number} channel
 * @param {string} kind "t" projections, "p" patches
 */
function cell(layer, channel, kind) {
  const square = atlas.index.across ** 2;
  const sheet = Math.floor(channel / square);
  return inSheet(`${root}sheets/${layer.number}-${kind}${sheet}.webp`, sheet * square, channel, layer.channels, layer.cell);
}

/**
 * A unit's picture.
 * @param {Layer} layer
 * @param {number} channel
 * @param {number} unit
 * @param {number} part 0 its patch, 1 its projection; in files of their own 2 that from random weights, 3 that of another channel
 * @returns {import("../shared/pictures.js").Part}
 */
function tile(layer, channel, unit, part) {
  const block = Math.floor(channel / layer.block);
  const channels = Math.min(layer.block, layer.channels - block * layer.block);
  const [height, width] = layer.tile;
  const [down, across] = [height + atlas.index.gutter, width + atlas.index.gutter];
  const [name, rows, row] = part > 1 ? [`${part === 2 ? "r" : "n"}${block}`, 1, 0] : [block, 2, part];
  return {
    file: `${root}sheets/${layer.number}-${name}.webp`,
    sheet: [rows * channels * down, atlas.index.k * across + atlas.index.gutter],
    at: [(rows * (channel % layer.block) + row) * down, unit * across],
    size: [height, width],
  };
}

/**
 * A channel's synthetic picture.
 * @param {Layer} layer
 * @param {number} channel
 * @returns {import("../shared/pictures.js").Part}
 */
function synthetic(layer, channel) {
  const block = Math.floor(channel / layer.block);
  const channels = Math.min(layer.block, layer.channels - block * layer.block);
  const [height, width] = layer.tile;
  const { gutter } = atlas.index;
  return {
    file: `${root}sheets/${layer.number}-s${block}.webp`,
    sheet: [channels * (height + gutter), width + gutter],
    at: [(channel % layer.block) * (height + gutter), 0],
    size: [height, width],
  };
}

/**
 * A full image, by its number in the dataset.
 * @param {number[]} numbers `load("images")`, ascending
 * @param {number} number
 */
function picture(numbers, number) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < number) low = middle + 1;
    else high = middle;
  }
  const square = atlas.index.across ** 2;
  const sheet = Math.floor(low / square);
  return inSheet(`${root}images/${sheet}.webp`, sheet * square, low, numbers.length, atlas.index.picture);
}

export const atlas = {
  load, open, details, cell, tile, synthetic, picture, layer: (/** @type {string} */ name) => byName.get(name), index: /** @type {any} */ (null),
};
