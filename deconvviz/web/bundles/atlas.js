// Made from files in deconvviz/web by `python -m frontend.bundle`: change those, not this one.
(() => {
"use strict";

// shared/elements.js
const $shared_elements = (() => {
// Elements, numbers and words. All text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined} Child */

/**
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, any> | null} attributes
 * @param {(Child | Child[])[]} children
 * @returns {E}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

/**
 * An element with attributes and children, which are elements or text.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
const h = (tag, attributes = null, ...children) => fill(document.createElement(tag), attributes, children);

/**
 * The same for drawings.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 */
const s = (tag, attributes = null, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/**
 * The element with an id, which the page has.
 * @param {string} id
 * @returns {any}
 */
const byId = (id) => document.getElementById(id);

/**
 * Three digits, in the shortest of the usual ways.
 * @param {number | null} value
 */
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2).replace("-", "−").replace("e+", "e");
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

/** @param {number | null} share */
function percent(share) {
  if (share === null) return "–";
  if (share > 0 && share < 0.0001) return "< 0.01 %";
  const digits = share >= 0.1 || share === 0 ? 0 : share >= 0.01 ? 1 : 2;
  return share < 1 && share > 0.99 ? `${(Math.floor(share * 1e4) / 100).toFixed(2)} %` : `${(100 * share).toFixed(digits)} %`;
}

/** @param {number} value */
const count = (value) => value.toLocaleString("en");

/** @param {number} value @param {string} word */
const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;

/** @param {number[]} shape whole numbers are written out, whatever they are */
const by = (shape) => shape.map((side) => (Number.isInteger(side) ? count(side) : number(side))).join(" × ");

/**
 * A name that may go on in a new line after its dots and slashes.
 * @param {string} name
 */
const breakable = (name) => name.split(/(?<=[./_])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

/** @param {number} part */
const percentage = (part) => `${Number((100 * part).toFixed(4))}%`;

/**
 * Terms and what is said of them.
 * @param {[string, Child | Child[]][]} list
 * @param {string} [className]
 */
const pairs = (list, className) =>
  h("dl", { class: className }, ...list.map(([term, said]) => h("div", null, h("dt", null, term), h("dd", null, said))));
return { h, s, byId, number, percent, count, plural, by, breakable, percentage, pairs };
})();

// shared/keys.js
const $shared_keys = (() => {
// Keys that work everywhere on a page.

const { byId } = $shared_elements;

/**
 * Whether a key is the browser's, a dialog's or that of a field in which one writes.
 * @param {KeyboardEvent} event
 */
function isTaken(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return true;
  return /** @type {HTMLElement} */ (event.target).matches("input:not([type=checkbox]), select, textarea");
}

/** Opens the list of keys. */
const showHelp = () => byId("help").showModal();

/**
 * The page's own keys, with "/" for the search and "?" for the list of keys.
 * @param {(event: KeyboardEvent) => boolean} own does what a key means; returns whether it means anything
 */
function attach(own) {
  byId("keys").addEventListener("click", showHelp);
  document.addEventListener("keydown", (event) => {
    if (isTaken(event)) return;
    if (event.key === "/") byId("search").focus();
    else if (event.key === "?") showHelp();
    else if (!own(event)) return;
    event.preventDefault();
  });
}
return { isTaken, showHelp, attach };
})();

// shared/search.js
const $shared_search = (() => {
// The search for a layer and a channel: "features.3 17", "features.3/17", "17" within a layer, "conv" for all such.

const { byId, h, plural } = $shared_elements;

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
function find(text, layers, here) {
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
const isUsed = () => document.activeElement === byId("search");

/**
 * Makes the page's field a search.
 * @param {() => Layer[]} layers
 * @param {() => Layer | undefined} here the layer that is shown
 * @param {(layer: any, channel: number | undefined, query?: string) => void} open
 * @param {(text: string, again: () => void) => Hit[]} [more] what else a text may mean; `again` is called when more is known
 * @returns {() => void} to be called when the layers, none before, are known
 */
function attach(layers, here, open, more = () => []) {
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
return { find, isUsed, attach };
})();

// shared/theme.js
const $shared_theme = (() => {
// Light or dark, as the system has it or as chosen.

const KEY = "deconvviz-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

function current() {
  return document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
}

function toggle() {
  const next = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // chosen for this page only
  }
}

/** Takes over what was chosen before. */
function restore() {
  const chosen = stored();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

/**
 * A button that changes it.
 * @param {HTMLButtonElement} button
 */
function attach(button) {
  const shown = () => button.setAttribute("aria-pressed", String(current() === "dark"));
  button.addEventListener("click", () => {
    toggle();
    shown();
  });
  dark.addEventListener("change", shown);
  shown();
}
return { current, toggle, restore, attach };
})();

// shared/pictures.js
const $shared_pictures = (() => {
// Pictures. A sheet holds many small ones, of which an element shows one.

const { h, percentage } = $shared_elements;

/**
 * A picture in a sheet, in the sheet's pixels, height before width.
 * @typedef {object} Part
 * @property {string} file
 * @property {number[]} sheet height and width of the whole
 * @property {number[]} at its top left corner
 * @property {number[]} size
 */

/**
 * A sheet whose pictures are alike and without gaps.
 * @typedef {object} Sprite
 * @property {string} url
 * @property {[number, number]} cell height and width
 * @property {number} columns
 * @property {number} rows
 */

const WIDEST = 8; // times as wide as tall
const TALLEST = 3; // times as tall as wide

/**
 * The shape in which a picture is shown: one that is very long is squeezed, so that it can be seen and pressed.
 * @param {number} tall
 * @param {number} wide
 */
const shapeOf = (tall, wide) => String(Math.min(WIDEST, Math.max(1 / TALLEST, wide / tall)));

/** @typedef {Omit<Sprite, "url"> & { sheet: HTMLImageElement }} Drawable a sprite with its picture */

/**
 * What a data address holds.
 * @param {string} data
 */
function fileOf(data) {
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

/**
 * The picture of a data address as a short address, which many elements can use.
 * @param {string} data
 */
const blobOf = (data) => URL.createObjectURL(fileOf(data));

/**
 * The picture of a data address, once it can be drawn. It is there several times sooner than by a short address.
 * @param {string} data
 * @returns {Promise<HTMLImageElement>}
 */
const loaded = (data) => new Promise((resolve) => {
  const one = new Image();
  one.onload = () => resolve(one);
  one.onerror = () => resolve(one);
  one.src = data;
});

/**
 * @param {Sprite} sprite
 * @param {number} cell
 * @returns {Part}
 */
function partOf({ url, cell: [tall, wide], columns, rows }, cell) {
  return { file: url, sheet: [rows * tall, columns * wide], at: [Math.floor(cell / columns) * tall, (cell % columns) * wide], size: [tall, wide] };
}

/**
 * Shows a part of a sheet as an element's background.
 * @param {HTMLElement} element
 * @param {Part} part
 */
function paint(element, { file, sheet: [height, width], at: [y, x], size: [tall, wide] }) {
  const { style } = element;
  style.backgroundImage = `url("${file}")`;
  style.backgroundSize = `${percentage(width / wide)} ${percentage(height / tall)}`;
  style.backgroundPosition = `${percentage(width > wide ? x / (width - wide) : 0)} ${percentage(height > tall ? y / (height - tall) : 0)}`;
}

/**
 * Draws one cell of a sprite, pixel by pixel.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawable} sprite
 * @param {number} cell
 */
function drawCell(canvas, { sheet, cell: [tall, wide], columns }, cell) {
  Object.assign(canvas, { width: wide, height: tall }); // which also clears it
  canvas.style.aspectRatio = shapeOf(tall, wide);
  const ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (sheet.naturalWidth) ink.drawImage(sheet, (cell % columns) * wide, Math.floor(cell / columns) * tall, wide, tall, 0, 0, wide, tall);
}

/**
 * Shows one cell of a sprite as an element's background, in the cell's shape.
 * @param {HTMLElement} element
 * @param {Sprite} sprite its `url` is one of `blobOf`
 * @param {number} cell
 */
function paintCell(element, sprite, cell) {
  paint(element, partOf(sprite, cell));
  element.style.aspectRatio = `${sprite.cell[1]} / ${sprite.cell[0]}`;
}

/**
 * A part of a sheet as an image with a text in its place.
 * @param {Part} part
 * @param {string} alt
 * @param {boolean} sharp whether pixels stay squares when enlarged
 */
function image({ file, sheet: [height, width], at: [y, x], size: [tall, wide] }, alt, sharp) {
  const shown = h("img", { src: file, alt, loading: "lazy", decoding: "async", draggable: "false" });
  Object.assign(shown.style, {
    width: percentage(width / wide), height: percentage(height / tall), left: percentage(-x / wide), top: percentage(-y / tall),
  });
  const frame = h("span", { class: sharp ? "tile sharp" : "tile" }, shown);
  frame.style.aspectRatio = `${wide} / ${tall}`;
  return frame;
}

/**
 * A single picture; small ones are enlarged with sharp pixels. A signal is one row of pixels, and becomes a band.
 * @param {HTMLImageElement} element
 * @param {string} url
 * @param {string} alt
 * @param {number[]} size of the picture in pixels, height before width
 */
function picture(element, url, alt, size) {
  element.src = url;
  element.alt = alt;
  element.classList.toggle("sharp", size.length === 1 || (size[1] || 1) <= 96);
  element.classList.toggle("band", size.length === 1);
  const [tall, wide] = size.slice(-2); // of a volume, a slice is shown
  element.style.aspectRatio = wide ? shapeOf(tall, wide) : "";
  element.draggable = false;
  return element;
}
return { fileOf, blobOf, loaded, paint, drawCell, paintCell, image, picture };
})();

// atlas/data.js
const $atlas_data = (() => {
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

const atlas = {
  load, open, details, cell, tile, synthetic, picture, layer: (/** @type {string} */ name) => byName.get(name), index: /** @type {any} */ (null),
};
return { atlas };
})();

// atlas/evidence.js
const $atlas_evidence = (() => {
// The one verdict on a channel's projections: what it is called, and what it rests on.

const { count, h, number } = $shared_elements;
const { atlas } = $atlas_data;

/**
 * What the verdicts are called; the signs differ in shape and not by colour alone.
 * @type {Record<string, { sign: string, name: string, kind: string }>}
 */
const VERDICTS = {
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
function sign(verdict) {
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
function verdict(data, channel, { units, evidence: found }, state) {
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
function patchesFirst(layer) {
  if (!atlas.index.evidence || !layer.verdicts) return false;
  const { specific, partly, not } = layer.verdicts;
  return 2 * specific <= specific + partly + not;
}
return { VERDICTS, sign, verdict, patchesFirst };
})();

// atlas/parts.js
const $atlas_parts = (() => {
// What the atlas's pages have in common: the states of channels, links, mosaics and facts.

const { by, count, h, plural } = $shared_elements;
const { paint } = $shared_pictures;
const { atlas } = $atlas_data;

/**
 * What a channel's state is called, and what that means (the same in scans, in the atlas and in `diagnose`).
 * @type {Record<string, { name: string, title: string }>}
 */
const STATES = {
  dead: { name: "dead", title: "Behind its rectifier, above zero at no position of any image; without a rectifier, constant" },
  always: { name: "always on", title: "Behind its rectifier, above zero at every position of every image" },
};

/**
 * The link to a layer's grid or to a channel.
 * @param {import("./data.js").Layer} layer
 * @param {number} [channel]
 * @param {string} [query]
 */
function link(layer, channel, query) {
  const path = `#/${encodeURIComponent(layer.name)}`;
  return (channel === undefined ? path : `${path}/${channel}`) + (query ? `?${query}` : "");
}

/**
 * How many channels there are, and how many of them have pictures if not all have.
 * @param {import("./data.js").Layer} layer
 */
function channelCount(layer) {
  const all = plural(layer.channels, "channel");
  return layer.empty.size ? `${all}, ${count(layer.channels - layer.empty.size)} with pictures` : all;
}

/**
 * A channel's mosaic, painted when it comes near the view.
 * @param {import("./data.js").Layer} layer
 * @param {number} channel
 * @param {string} kind
 */
function mosaic(layer, channel, kind) {
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
function facts(layer) {
  /** @type {[string, string][]} */
  const said = [["kind", layer.kind === "cat" ? "concatenation" : layer.kind], ["shape", by(layer.shape)]];
  said.push(["receptive field", layer.field && layer.field.length ? `${by(layer.field)} pixels` : "the whole input"]);
  if (layer.stride && layer.stride.length) said.push(["stride", `${by(layer.stride)} pixels`]);
  if (layer.linearised.length) said.push(["linearised", layer.linearised.join(", ")]);
  if (layer.detached.length) said.push(["passed, though detached", layer.detached.join(", ")]);
  return said;
}
return { STATES, link, channelCount, mosaic, facts };
})();

// atlas/grid.js
const $atlas_grid = (() => {
// All channels of a layer. Only the rows in view are in the document, however many channels there are.

const { breakable, count, h, number, pairs, percent, plural } = $shared_elements;
const { paint } = $shared_pictures;
const search = $shared_search;
const { atlas } = $atlas_data;
const { patchesFirst, VERDICTS } = $atlas_evidence;
const { channelCount, facts, link, STATES } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {{ sort: string, hide: string[], show: string, verdict: string }} Options */
/**
 * What the grid knows of its channels, by their numbers.
 * @typedef {object} Statistics
 * @property {string[]} state
 * @property {number[]} firing
 * @property {number[]} maximum
 * @property {string[]} verdict in atlases with evidence
 * @property {(number | null)[]} share likewise
 */

/** @type {Record<string, string>} */
const SORTS = { channel: "channel number", firing: "firing rate", strength: "maximum", alike: "least specific" };
const JUDGED = ["alike"]; // in atlases with evidence
const SHOWN = ["patches", "projections"];
const GAP = 8;
const CAPTION = 34; // pixels below a mosaic; as in style.css
const AHEAD = 300; // pixels above and below the view that are filled too
const SHEETS = 3; // unpacked per frame: sorted, every cell of a row may lie in another one

// What a layer's grid was last asked for: a channel's neighbours are those in its grid.
/** @type {Map<number, Options>} */
const asked = new Map();

/** @param {Layer} layer */
const usual = (layer) => (patchesFirst(layer) ? "patches" : "projections");
const sorts = () => Object.keys(SORTS).filter((sort) => atlas.index.evidence || !JUDGED.includes(sort));

/**
 * The options in a route's query; what is unknown is left out.
 * @param {Layer} layer
 * @param {string} query
 * @returns {Options}
 */
function options(layer, query) {
  const given = new URLSearchParams(query);
  const sort = given.get("sort") || "";
  const hide = (given.get("hide") || "").split(",");
  return {
    sort: sorts().includes(sort) ? sort : "channel",
    hide: Object.keys(STATES).filter((kind) => hide.includes(kind)),
    show: SHOWN.find((one) => one === given.get("show")) || usual(layer),
    verdict: atlas.index.evidence && VERDICTS[given.get("verdict") || ""] ? given.get("verdict") || "" : "",
  };
}

/**
 * The query of options, without what is the default.
 * @param {Layer} layer
 * @param {Options} options
 */
function query(layer, { sort, hide, show, verdict }) {
  const parts = [];
  if (sort !== "channel") parts.push(`sort=${sort}`);
  if (hide.length) parts.push(`hide=${hide.join(",")}`);
  if (verdict) parts.push(`verdict=${verdict}`);
  if (show !== usual(layer)) parts.push(`show=${show}`);
  return parts.join("&");
}

/** @param {Layer} layer */
const lastQuery = (layer) => query(layer, asked.get(layer.number) || options(layer, ""));

/**
 * What channels are sorted by, the highest first; what speaks most against a picture is the highest.
 * @param {Statistics} data
 * @param {string} sort
 * @returns {number[]}
 */
function keys(data, sort) {
  if (sort === "alike") return data.share.map((one, channel) => (one === null || data.verdict[channel] === "none" ? -Infinity : one));
  return (sort === "firing" ? data.firing : data.maximum).map((value) => (value === null ? -Infinity : value));
}

/**
 * What a channel's caption says beside its number.
 * @param {Statistics} data
 * @param {string} sort
 * @param {number} channel
 */
function words(data, sort, channel) {
  if (sort === "alike") return number(data.verdict[channel] === "none" ? null : data.share[channel]);
  return sort === "strength" ? number(data.maximum[channel]) : percent(data.firing[channel]);
}

/**
 * Channel numbers, filtered and sorted; those alike by number.
 * @param {Statistics} data
 * @param {Options} options
 */
function order(data, { sort, hide, verdict }) {
  const channels = data.state.map((_, channel) => channel).filter(
    (channel) => !hide.includes(data.state[channel]) && (!verdict || data.verdict[channel] === verdict));
  if (sort === "channel") return channels;
  const key = keys(data, sort);
  return channels.sort((a, b) => (key[a] === key[b] ? a - b : key[b] - key[a]));
}

/**
 * The channels of a layer as its grid last had them; all by number where `channel` is not among those.
 * @param {Layer} layer
 * @param {Statistics} data
 * @param {number} channel
 */
function neighbours(layer, data, channel) {
  const shown = order(data, asked.get(layer.number) || options(layer, ""));
  return shown.includes(channel) ? shown : order(data, options(layer, ""));
}

/**
 * @param {Layer} layer
 * @param {string} asking the query of the address
 * @param {(address: string) => void} rename told the address of changed options
 * @returns {Promise<import("./main.js").View>}
 */
async function view(layer, asking, rename) {
  /** @type {Statistics} */
  const data = await atlas.load(String(layer.number));
  const chosen = options(layer, asking);
  /** @type {number[]} */
  let channels = [];
  asked.set(layer.number, chosen);

  // The tools

  const sort = h("select", { id: "sort" }, sorts().map((value) => h("option", { value }, SORTS[value])));
  sort.value = chosen.sort;
  const hide = Object.keys(STATES).map((kind) => {
    const channels = layer[/** @type {"dead" | "always"} */ (kind)];
    const box = h("input", { type: "checkbox", id: `hide-${kind}`, disabled: !channels });
    box.checked = chosen.hide.includes(kind);
    return { box, label: h("label", { for: box.id, title: STATES[kind].title }, `hide ${STATES[kind].name} (${count(channels)})`) };
  });
  const judged = h("select", { id: "verdict", "aria-label": "Verdict" }, h("option", { value: "" }, "all verdicts"),
    Object.entries(VERDICTS).map(([verdict, { name }]) => h("option", { value: verdict }, `${name} (${count(layer.verdicts ? layer.verdicts[verdict] : 0)})`)));
  judged.value = chosen.verdict;
  const show = h("button", { type: "button", id: "show", "aria-pressed": String(chosen.show === "patches") }, "image patches");
  const status = h("p", { class: "status", role: "status" });
  const tools = h("div", { class: "tools" },
    h("label", { for: "sort" }, "sort by"), sort, hide.map(({ box, label }) => h("span", { class: "check" }, box, label)), atlas.index.evidence ? judged : null, show, status);
  const nothing = h("p", { class: "notice", hidden: true }, "No channel of this layer is left. Choose all verdicts, or show what is hidden.");
  const cells = h("ul", { class: "cells", "aria-label": `Channels of ${layer.name}` });
  const element = h("div", { class: "grid" },
    h("h1", { tabindex: "-1" }, breakable(layer.name)), h("p", { class: "lead" }, channelCount(layer)),
    layer.said ? h("p", { class: "notice said" }, layer.said) : null,
    pairs(facts(layer), "facts inline"), tools, nothing, cells);

  tools.addEventListener("change", () => {
    chosen.sort = sort.value;
    chosen.verdict = judged.value;
    chosen.hide = Object.keys(STATES).filter((_, at) => hide[at].box.checked);
    changed();
  });
  function swap() {
    chosen.show = chosen.show === "patches" ? "projections" : "patches";
    show.setAttribute("aria-pressed", String(chosen.show === "patches"));
    changed();
  }
  show.addEventListener("click", swap);

  function changed() {
    rename(link(layer, undefined, query(layer, chosen)));
    current = 0;
    reorder();
  }

  // The cells in view

  let columns = 1;
  let width = 0;
  let rowHeight = 1;
  let current = 0; // place in `channels` that the arrows move from
  /** @typedef {ReturnType<typeof make>} Cell */
  /** @type {Map<number, Cell>} */
  const filled = new Map(); // by place
  /** @type {Cell[]} */
  const spare = [];

  function reorder() {
    channels = order(data, chosen);
    status.textContent = channels.length === layer.channels ? "" : `${count(channels.length)} of ${plural(layer.channels, "channel")}`;
    nothing.hidden = channels.length > 0;
    for (const place of filled.keys()) release(place);
    measure();
  }

  function measure() {
    const across = cells.clientWidth;
    if (!across) return;
    columns = Math.max(3, Math.floor((across + GAP) / (112 + GAP)));
    width = (across - GAP * (columns - 1)) / columns;
    rowHeight = Math.round((width * layer.cell[0]) / layer.cell[1]) + CAPTION + GAP;
    cells.style.height = `${Math.ceil(channels.length / columns) * rowHeight}px`;
    for (const [place, cell] of filled) put(cell, place);
    update();
  }

  function update() {
    const top = cells.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - AHEAD) / rowHeight)) * columns;
    const end = Math.min(channels.length, Math.max(0, Math.ceil((innerHeight - top + AHEAD) / rowHeight)) * columns);
    for (const place of filled.keys()) if (place < first || place >= end) release(place);
    for (let place = first; place < end; place += 1) if (!filled.has(place)) add(place);
    const entry = filled.has(current) ? current : first;
    for (const [place, cell] of filled) cell.anchor.tabIndex = place === entry ? 0 : -1;
    paintSome();
  }

  /** Paints cells whose sheet is shown already or is one of the next few; the others come in later frames. */
  function paintSome() {
    const known = new Set();
    for (const cell of filled.values()) if (cell.painted && cell.part) known.add(cell.part.file);
    let left = SHEETS;
    let more = false;
    for (const cell of filled.values()) {
      if (cell.painted || !cell.part) continue;
      if (!known.has(cell.part.file) && left === 0) {
        more = true;
        continue;
      }
      if (!known.has(cell.part.file)) left -= 1;
      known.add(cell.part.file);
      cell.painted = true;
      paint(cell.mosaic, cell.part);
    }
    if (more) later();
  }

  /** @param {number} place */
  function release(place) {
    const cell = filled.get(place);
    if (!cell) return;
    filled.delete(place);
    cell.item.remove();
    spare.push(cell);
  }

  function make() {
    const mosaic = h("span", { class: "mosaic" });
    const name = h("b");
    const words = h("span", { class: "words" });
    const sign = h("span", { class: "sign", "aria-hidden": "true" });
    const bar = h("i");
    const anchor = h("a", null, mosaic, h("span", { class: "caption" }, name, sign, words), h("span", { class: "rate" }, bar));
    const part = /** @type {import("../shared/pictures.js").Part | null} */ (null);
    return { item: h("li", null, anchor), anchor, mosaic, name, sign, words, bar, part, other: part, painted: false };
  }

  /** @param {Cell} cell @param {number} place */
  function put(cell, place) {
    const style = cell.item.style;
    style.width = `${width}px`;
    style.transform = `translate(${(place % columns) * (width + GAP)}px, ${Math.floor(place / columns) * rowHeight}px)`;
  }

  /** @param {number} place */
  function add(place) {
    const channel = channels[place];
    const cell = spare.pop() || make();
    const kind = data.state[channel];
    const firing = percent(data.firing[channel]);
    cell.item.className = kind;
    cell.item.setAttribute("aria-setsize", String(channels.length));
    cell.item.setAttribute("aria-posinset", String(place + 1));
    cell.anchor.setAttribute("href", link(layer, channel));
    const judgedAs = atlas.index.evidence ? VERDICTS[data.verdict[channel]] : null;
    cell.anchor.setAttribute("aria-label",
      `Channel ${channel}${layer.names[channel] ? `, ${layer.names[channel]}` : ""}, ${kind ? STATES[kind].name : `fires ${firing}`}, maximum ${number(data.maximum[channel])}${judgedAs ? `, ${judgedAs.name}` : ""}`);
    cell.name.textContent = layer.names[channel] ? `${channel} ${layer.names[channel]}` : String(channel);
    cell.sign.textContent = judgedAs ? judgedAs.sign : "";
    cell.sign.className = `sign ${judgedAs ? judgedAs.kind : ""}`;
    cell.words.textContent = words(data, chosen.sort, channel);
    cell.bar.style.width = `${100 * (data.firing[channel] || 0)}%`;
    cell.mosaic.style.aspectRatio = `${layer.cell[1]} / ${layer.cell[0]}`;
    const empty = layer.empty.has(channel);
    cell.mosaic.classList.toggle("empty", empty);
    cell.mosaic.textContent = empty ? (kind === "dead" ? "dead" : "no picture") : "";
    const [first, second] = chosen.show === "patches" ? ["p", "t"] : ["t", "p"];
    cell.part = empty ? null : atlas.cell(layer, channel, first);
    cell.other = empty ? null : atlas.cell(layer, channel, second);
    if (cell.painted) cell.mosaic.style.backgroundImage = "";
    cell.painted = false;
    put(cell, place);
    filled.set(place, cell);
    cells.append(cell.item);
  }

  let waiting = 0;

  function later() {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      update();
    });
  }

  // Moving about

  /** @param {number} place */
  function reveal(place) {
    const top = cells.getBoundingClientRect().top + scrollY + Math.floor(place / columns) * rowHeight;
    const bar = /** @type {HTMLElement | null} */ (document.querySelector(".bar"));
    const room = (bar ? bar.offsetHeight : 0) + tools.offsetHeight + GAP;
    if (top < scrollY + room) scrollTo(0, top - room);
    else if (top + rowHeight > scrollY + innerHeight) scrollTo(0, top + rowHeight - innerHeight);
  }

  /** @param {number} place */
  function focus(place) {
    current = place;
    reveal(place);
    update();
    filled.get(place)?.anchor.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key.toLowerCase() === "p") {
      swap();
      return true;
    }
    if (event.shiftKey || !channels.length) return false;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (step === undefined) return false;
    const inside = cells.contains(document.activeElement);
    const next = inside ? current + step : filled.has(current) ? current : [...filled.keys()].sort((a, b) => a - b)[0];
    if (next >= 0 && next < channels.length) focus(next);
    return true;
  }

  cells.addEventListener("focusin", (event) => {
    for (const [place, cell] of filled) if (cell.anchor === event.target) current = place;
  });

  // Under the pointer, a cell shows its pictures of the other kind.
  for (const kind of ["mouseover", "mouseout"]) {
    cells.addEventListener(kind, (event) => {
      for (const cell of filled.values()) {
        const part = kind === "mouseover" ? cell.other : cell.part;
        if (part && cell.painted && cell.anchor.contains(/** @type {Node} */ (event.target))) paint(cell.mosaic, part);
      }
    });
  }

  const sizes = new ResizeObserver(measure);
  addEventListener("scroll", later, { passive: true });

  /**
   * Called when the grid is in the document.
   * @param {import("./main.js").Route | null} from
   * @param {number} scrolled where the grid was scrolled to when it was left
   */
  function arrive(from, scrolled) {
    reorder();
    sizes.observe(cells);
    const back = from && from.layer === layer && from.channel !== undefined;
    scrollTo(0, back ? scrolled : 0);
    update();
    const last = back && from.channel !== undefined ? channels.indexOf(from.channel) : -1;
    if (last >= 0 && !search.isUsed()) focus(last);
  }

  function leave() {
    removeEventListener("scroll", later);
    cancelAnimationFrame(waiting);
    sizes.disconnect();
  }

  return { element, title: layer.name, key, arrive, leave };
}
return { lastQuery, neighbours, view };
})();

// atlas/lightbox.js
const $atlas_lightbox = (() => {
// One unit, large: its image, its patch, its projection, and the projection over the patch.

const { by, h, number } = $shared_elements;
const { image } = $shared_pictures;
const { atlas } = $atlas_data;

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {import("../shared/pictures.js").Part} Part */
/** @typedef {{ layer: Layer, channel: number, units: any[], numbers: number[], beside?: number[] }} Shown */

/**
 * The full image with a box around the patch.
 * @param {number[]} numbers
 * @param {any[]} unit
 */
function place(numbers, unit) {
  const [, number_, name, label, box] = unit;
  const [height, width] = atlas.index.input.slice(-2);
  const [top, left, bottom, right] = box;
  const words = `${label || name}, full image; the patch covers rows ${top} to ${bottom} and columns ${left} to ${right} of ${by([height, width])}`;
  const frame = image(atlas.picture(numbers, number_), words, atlas.index.picture[2] > 1);
  const mark = h("i", { class: "box" });
  Object.assign(mark.style, {
    top: `${(100 * top) / height}%`, left: `${(100 * left) / width}%`,
    height: `${(100 * (bottom - top)) / height}%`, width: `${(100 * (right - left)) / width}%`,
  });
  frame.append(mark);
  return frame;
}

/** What shows the pictures that a unit has, by their parts in `atlas.tile`. */
const WORDS = [["Image patch", "Image patches"], ["Projection", "Projections"],
  ["With random weights", "With random weights"], ["Another channel there", "Other channels at the same places"]];

/**
 * @param {Shown} shown
 * @param {number} at
 * @param {number} part
 */
function tile({ layer, channel, units }, at, part) {
  const [value, , name, label] = units[at];
  return image(atlas.tile(layer, channel, at, part), `${WORDS[part][0]} ${at + 1}: ${label || name}, activation ${number(value)}`, layer.tile[2] > 1);
}

/**
 * The projection over the patch, and the slider that fades it in.
 * @param {Shown} shown
 * @param {number} at
 */
function overlay(shown, at) {
  const under = tile(shown, at, 0);
  const over = tile(shown, at, 1);
  over.classList.add("over");
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Projection over the patch, in percent" });
  const fade = () => { over.style.opacity = String(Number(slider.value) / 100); };
  slider.addEventListener("input", fade);
  fade();
  return h("figure", { class: "pictures" }, h("figcaption", null, "Projection over the patch"), h("div", { class: "stacked" }, under, over), slider);
}

/** Lines of Python that project a unit again. @param {Shown} shown @param {number} at */
function python({ layer, channel, units }, at) {
  const [, number_, , , , position] = units[at];
  const where = position.length ? `, position=(${position.join(", ")}${position.length === 1 ? "," : ""})` : "";
  return [
    "# net and data: the network and the data set of this atlas",
    `image = data[${number_}][0]`,
    `projection = net.project(image, ${JSON.stringify(layer.name)}, channel=${channel}${where})`,
    "projection.figure().savefig(\"projection.png\")"].join("\n");
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed here
    const area = h("textarea", { "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * A picture as a PNG file. Browsers refuse it for a page that was opened from the disk.
 * @param {Part[]} parts side by side
 * @param {string} name
 */
async function save(parts, name) {
  const sheets = await Promise.all(parts.map(async ({ file }) => {
    const sheet = new Image();
    sheet.src = file;
    await sheet.decode();
    return sheet;
  }));
  const [height, width] = parts[0].size;
  const enlarged = Math.max(1, Math.floor(448 / height));
  const canvas = h("canvas", { width: parts.length * width * enlarged, height: height * enlarged });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  parts.forEach(({ at: [y, x] }, n) => context.drawImage(sheets[n], x, y, width, height, n * width * enlarged, 0, width * enlarged, height * enlarged));
  const anchor = h("a", { href: canvas.toDataURL("image/png"), download: name });
  anchor.click();
}

/** Closes what is shown large, as its channel is left. */
const close = () => /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog.lightbox"))?.close();

/**
 * Shows a unit large; the arrow keys go to the channel's others.
 * @param {Shown} shown
 * @param {number} first
 */
function open(shown, first) {
  const { layer, channel, units, numbers, beside } = shown;
  let at = first;
  const title = h("h2", { id: "unit-title" });
  const pictures = h("div", { class: "large" });
  const facts = h("p", { class: "unit-facts" });
  const said = h("p", { class: "muted", role: "status" });
  const button = (/** @type {string} */ words, /** @type {() => any} */ act, /** @type {string} */ done) => {
    const made = h("button", { type: "button" }, words);
    made.addEventListener("click", () => Promise.resolve(act()).then(() => { said.textContent = done; }, () => {
      said.textContent = "The browser does not let a page from the disk save pictures. Open the atlas from a web server, for example with python -m http.server.";
    }));
    return made;
  };
  const file = () => `${layer.name}-${channel}-${at + 1}.png`;
  const dialog = h("dialog", { class: "lightbox", "aria-labelledby": "unit-title" },
    h("div", { class: "lightbox-head" }, title, h("form", { method: "dialog" }, h("button", { autofocus: true, "aria-label": "Close" }, "✕"))),
    pictures, facts,
    h("div", { class: "actions" },
      button("previous", () => show(at - 1), ""), button("next", () => show(at + 1), ""),
      button("copy link", () => copy(location.href), "The address of this page is copied."),
      button("copy Python", () => copy(python(shown, at)), "Lines that project this unit again are copied."),
      button("save PNG", () => save([0, 1].map((part) => atlas.tile(layer, channel, at, part)), file()), "")),
    said);

  /** @param {number} to */
  function show(to) {
    at = (to + units.length) % units.length;
    const [value, image_, name, label, , position] = units[at];
    title.textContent = `${layer.name} channel ${channel}: unit ${at + 1} of ${units.length}`;
    const parts = atlas.index.evidence ? [0, 1, 3, 2] : [0, 1];
    const shownParts = beside && beside[at] < 0 ? parts.filter((part) => part !== 3) : parts;
    pictures.replaceChildren(
      h("figure", { class: "pictures" }, h("figcaption", null, "Full image"), place(numbers, units[at])),
      ...shownParts.map((part) => h("figure", { class: "pictures" },
        h("figcaption", null, part === 3 && beside ? `Channel ${beside[at]} there` : WORDS[part][0]), tile(shown, at, part))),
      overlay(shown, at));
    const where = position.length ? `, position ${position.join(", ")} of the map` : "";
    facts.textContent = `Activation ${number(value)}${label && `, ${label}`}, ${name === String(image_) ? "" : `${name}, `}image ${image_}${where}.`;
  }

  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || /** @type {HTMLElement} */ (event.target).matches("input")) return;
    show(at + step);
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  show(first);
  dialog.showModal();
}
return { place, WORDS, tile, close, open };
})();

// atlas/channel.js
const $atlas_channel = (() => {
// One channel: its strongest patches and projections, their place in the full image, firing statistics and what feeds it.

const { breakable, count, h, number, pairs, percent, plural, s } = $shared_elements;
const { image } = $shared_pictures;
const { atlas } = $atlas_data;
const evidence = $atlas_evidence;
const grid = $atlas_grid;
const lightbox = $atlas_lightbox;
const { facts, link, mosaic, STATES } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */

/**
 * Pictures of all units of one kind as a square of buttons that enlarge them.
 * @param {import("./lightbox.js").Shown} shown
 * @param {number} part 0 patches, 1 projections, 2 those from random weights, 3 those of other channels there
 * @param {string} [className]
 */
function square(shown, part, className = "") {
  const cells = h("div", { class: "square" }, shown.units.map((unit, at) => {
    const enlarge = h("button", { type: "button", class: "enlarge", "data-unit": at }, lightbox.tile(shown, at, part));
    enlarge.addEventListener("click", () => lightbox.open(shown, at));
    return enlarge;
  }));
  cells.style.gridTemplateColumns = `repeat(${Math.ceil(Math.sqrt(atlas.index.k))}, 1fr)`;
  return h("figure", { class: `pictures ${className}` }, h("figcaption", null, lightbox.WORDS[part][1]), cells);
}

/** What the colours of projections mean. */
function legend() {
  const grey = atlas.index.input[atlas.index.input.length - 3] === 1;
  return h("p", { class: "legend muted" }, grey
    ? [h("i", { class: "key plus" }), " red: brighter pixels would raise the activation; ", h("i", { class: "key minus" }), " blue: darker ones. White is zero. Each projection has its own scale."]
    : "Grey is zero. Each projection has its own scale.");
}

/**
 * The projections beside what they should differ from: those of other channels, and of random weights.
 * @param {import("./lightbox.js").Shown} shown
 */
function controls(shown) {
  return h("section", { class: "controls" }, h("h2", null, "Beside controls"),
    h("p", { class: "muted" }, "The same units, beside other channels at the same places of the same images, and beside the same network with random weights. What looks the same in all three does not come from this channel."),
    h("div", { class: "three" }, square(shown, 1), square(shown, 3), square(shown, 2)));
}

/**
 * The picture that was made for a channel, what it is and what it is not.
 * @param {Layer} layer
 * @param {number} channel
 * @param {number} activation of its unit in the picture
 * @param {number} most the highest activation in the data set
 */
function synthetic(layer, channel, activation, most) {
  const unit = layer.shape.length > 1 ? "the unit in the middle of the map" : "its unit";
  const times = most > 0 ? `, ${number(activation / most)} times that of the strongest image` : "";
  const reached = activation > 0 ? `The activation reaches ${number(activation)}${times}.` : "No picture was found that makes it fire.";
  const words = `Synthetic picture of ${layer.name} channel ${channel}, made from noise; its activation is ${number(activation)}`;
  return h("section", null, h("h2", null, "Synthetic picture"),
    h("figure", { class: "pictures synthetic" }, image(atlas.synthetic(layer, channel), words, layer.tile[2] > 1),
      h("figcaption", null,
        h("p", null, `Made from noise by gradient ascent, so that ${unit} fires as strongly as possible (activation maximisation). ${reached}`),
        h("p", null, "This is no image of the data set, and nothing like it need occur there. In the library’s tests (docs/synthetic.md) such pictures were nowhere shown to tell better than patches which images fire a channel."))));
}

/** @param {number[]} numbers @param {any[]} units */
function unitList(numbers, units) {
  return h("ol", { class: "units" }, units.map((unit, at) => {
    const [value, image_, name, label, , position] = unit;
    const where = position.length === 2 ? `row ${position[0]}, column ${position[1]} of the map`
      : position.length ? `position ${position.join(", ")} of the map` : "";
    const item = h("li", null, lightbox.place(numbers, unit),
      h("div", { class: "unit-text" },
        h("b", { class: "value" }, number(value)), label ? h("span", { class: "label" }, label) : null,
        name === String(image_) ? null : h("span", { class: "name", title: name }, name), h("span", { class: "muted" }, `image ${image_}${where && `, ${where}`}`)));
    item.dataset.unit = String(at);
    return item;
  }));
}

/**
 * Bars of equal width; bins are a quarter of an octave or wider. Bars for inactive units are muted.
 * @param {[number, number, number][]} bins
 */
function histogram(bins) {
  if (!bins.length) return null;
  const [width, height] = [320, 96];
  const [low, high] = [bins[0][0], bins[bins.length - 1][1]];
  const wide = width / bins.length;
  const most = Math.max(...bins.map((bin) => bin[2]), 1);
  const bars = bins.map(([from, to, size], at) => {
    if (!size) return null;
    const tall = Math.max(1.5, (Math.log1p(size) / Math.log1p(most)) * height);
    return s("rect", { x: (at * wide).toFixed(2), y: (height - tall).toFixed(2), width: Math.max(wide - 0.75, 0.5).toFixed(2), height: tall.toFixed(2), class: to <= 0 ? "silent" : "" },
      s("title", null, `${number(from)} to ${number(to)}: ${count(size)}`));
  });
  const total = bins.reduce((sum, bin) => sum + bin[2], 0);
  const drawing = s("svg", {
    viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Histogram of ${plural(total, "activation")} from ${number(low)} to ${number(high)}`,
  }, bars);
  const zero = bins.findIndex((bin) => bin[1] > 0) * wide;
  if (low < 0 && high > 0) drawing.append(s("line", { x1: zero, x2: zero, y1: 0, y2: height }));
  return h("section", { class: "histogram" }, h("h2", null, "Activations"), drawing,
    h("p", { class: "axis muted" }, h("span", null, number(low)), h("span", null, "both axes logarithmic"), h("span", null, number(high))));
}

/** @param {[string, number, number][]} list */
function inputs(list) {
  if (!list.length) return null;
  const most = Math.max(...list.map((one) => Math.abs(one[2])), 1e-30);
  return h("section", { class: "inputs" }, h("h2", null, "What feeds it"), h("ul", null, list.map(([name, channel, share]) => {
    const layer = atlas.layer(name);
    const bar = h("i", { class: share < 0 ? "weight negative" : "weight" });
    bar.style.width = `${(100 * Math.abs(share)) / most}%`;
    const text = h("span", { class: "input-text" }, h("span", { class: "input-name" }, `${name} · ${channel}`),
      h("span", { class: "muted" }, `${share < 0 ? "takes" : "adds"} ${percent(Math.abs(share))}`), h("span", { class: "rate" }, bar));
    if (!layer || channel >= layer.channels) return h("li", null, text);
    return h("li", null, h("a", { href: link(layer, channel) }, mosaic(layer, channel, evidence.patchesFirst(layer) ? "p" : "t"), text));
  })));
}

/**
 * @param {Layer} layer
 * @param {number} channel
 * @returns {Promise<import("./main.js").View>}
 */
async function view(layer, channel) {
  const [data, details, numbers] = await Promise.all([
    atlas.load(String(layer.number)), atlas.details(layer, channel), atlas.load("images")]);
  const { units } = details;
  const state = data.state[channel];
  const order = grid.neighbours(layer, data, channel);
  const at = order.indexOf(channel);
  const [before, after] = [order[at - 1], order[at + 1]];
  const step = (/** @type {number | undefined} */ to, /** @type {string} */ text, /** @type {string} */ label) => (to === undefined
    ? h("span", { class: "step", "aria-hidden": "true" }, text)
    : h("a", { class: "step", href: link(layer, to), "aria-label": `${label} channel, ${to}`, title: `${label} channel, ${to}` }, text));
  /** @type {[string, string][]} */
  const numbersList = [["firing rate", percent(data.firing[channel])], ["mean", number(data.mean[channel])], ["maximum", number(data.maximum[channel])]];
  const figures = pairs(numbersList, "numbers");
  if (details.label) figures.append(h("div", { class: "wide" }, h("dt", null, "label"), h("dd", null, details.label)));
  const shown = { layer, channel, units, numbers, beside: details.beside };
  const judged = atlas.index.evidence ? evidence.verdict(data, channel, details, state) : null;
  const large = atlas.index.evidence && data.verdict[channel] !== "specific";
  const pictures = units.length
    ? [h("div", { class: large ? "pair patches-first" : "pair" }, square(shown, 0), square(shown, 1)), legend(),
      atlas.index.synthetic ? synthetic(layer, channel, details.synthetic, data.maximum[channel]) : null,
      atlas.index.evidence ? controls(shown) : null,
      h("h2", null, "In the full image"), unitList(numbers, units)]
    : [h("p", { class: "notice" }, state === "dead" ? "This channel is dead: it is above zero at no position of these images, so there is nothing to show." : "There are no pictures of this channel.")];
  const element = h("article", { class: "channel" },
    h("div", { class: "heading" },
      step(before, "←", "Previous"),
      h("div", { class: "title" },
        h("h1", { tabindex: "-1" }, h("a", { href: link(layer, undefined, grid.lastQuery(layer)) }, breakable(layer.name)), h("span", null, ` channel ${channel}`), layer.names[channel] ? h("span", { class: "class-name" }, ` ${layer.names[channel]}`) : null),
        state ? h("span", { class: `badge ${state}`, title: STATES[state].title }, STATES[state].name) : null),
      step(after, "→", "Next")),
    h("div", { class: "columns" },
      figures,
      h("div", { class: "seen" }, judged, pictures),
      h("aside", { "aria-label": "Statistics" }, histogram(details.histogram), inputs(details.inputs),
        h("section", null, h("h2", null, "Layer"), pairs(facts(layer), "facts")))));

  // Highlight a unit's patch, projection and place together.
  /** @param {PointerEvent} event */
  function light(event) {
    const target = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-unit]"));
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("[data-unit]"))) {
      part.classList.toggle("lit", target !== null && part.dataset.unit === target.dataset.unit);
    }
  }
  element.addEventListener("pointerover", light);

  /**
   * @param {KeyboardEvent} event
   * @param {import("./main.js").Route} ahead a later channel while a key is held and the next one is loading
   */
  function key(event, ahead) {
    if (event.shiftKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return false;
    const next = order.indexOf(ahead.channel === undefined ? channel : ahead.channel) + (event.key === "ArrowLeft" ? -1 : 1);
    if (next < 0 || next >= order.length) return true;
    if (event.repeat) location.replace(link(layer, order[next])); // a key that is held is one step
    else location.hash = link(layer, order[next]);
    return true;
  }

  return { element, title: [`${layer.name} channel ${channel}`, layer.names[channel]].filter(Boolean).join(" "), key, leave: lightbox.close };
}
return { view };
})();

// atlas/found.js
const $atlas_found = (() => {
// What the search finds beside layers and channels: classes, labels and files of images, and verdicts.

const { plural } = $shared_elements;
const { atlas } = $atlas_data;
const { VERDICTS } = $atlas_evidence;

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
function like(text, again) {
  if (!text || !atlas.index) return [];
  load(again);
  const lower = text.toLowerCase();
  return [...ofClasses(lower), ...ofVerdicts(lower), ...(text.length > 1 && !/^\d+$/.test(text) ? ofImages(lower) : [])];
}
return { like };
})();

// atlas/overview.js
const $atlas_overview = (() => {
// All layers, from the input up.

const { breakable, by, count, h, pairs, plural } = $shared_elements;
const search = $shared_search;
const { atlas } = $atlas_data;
const { patchesFirst, VERDICTS } = $atlas_evidence;
const { channelCount, facts, link, mosaic, STATES } = $atlas_parts;

/** @param {import("./data.js").Layer} layer */
function card(layer) {
  const badges = [];
  for (const [kind, { name, title }] of Object.entries(STATES)) {
    const found = layer[/** @type {"dead" | "always"} */ (kind)];
    if (found) badges.push(h("span", { class: `badge ${kind}`, title }, `${count(found)} ${name}`));
  }
  const cover = h("span", { class: "cover", "aria-hidden": "true" }, layer.cover.map((channel) => mosaic(layer, channel, patchesFirst(layer) ? "p" : "t")));
  const title = h("h2", null, h("a", { href: link(layer), class: "cover-link" }, breakable(layer.name)));
  const words = h("p", { class: "channels" }, channelCount(layer), badges.length ? " " : "", badges);
  return h("li", { class: "card" }, h("div", { class: "card-text" }, title, words, counts(layer), pairs(facts(layer), "facts")), cover);
}

/** How many channels have which verdict. @param {import("./data.js").Layer} layer */
function counts({ verdicts }) {
  if (!atlas.index.evidence || !verdicts) return null;
  return h("p", { class: "verdicts" }, ["specific", "partly", "not"].map((verdict) => {
    const { sign, name, kind } = VERDICTS[verdict];
    return h("span", { class: `sign ${kind}` }, h("span", { "aria-hidden": "true" }, `${sign} `), `${count(verdicts[verdict])} ${name}`);
  }));
}

/** @param {[string, string][]} files */
function broken(files) {
  if (!files.length) return null;
  return h("details", { class: "broken" },
    h("summary", null, `${plural(files.length, "file")} of the dataset could not be read`),
    h("ul", null, files.map(([name, reason]) => h("li", null, h("code", null, name), `: ${reason}`))));
}

/** @param {string[] | undefined} names */
function unfinished(names) {
  return names && h("p", { class: "notice", role: "status" }, `This atlas is not finished. Still to be built: ${names.join(", ") || "the last files"}. Reload the page to see what is new. If the build was stopped, the same call continues it.`);
}

/** @returns {import("./main.js").View} */
function view() {
  const { title, model, dataset, images, k, style, input, layers, broken: files, provenance, unfinished: missing, random, version } = atlas.index;
  const total = (/** @type {(layer: any) => number} */ of) => layers.reduce((/** @type {number} */ sum, /** @type {any} */ layer) => sum + of(layer), 0);
  const all = total((layer) => layer.channels);
  const pictured = all - total((layer) => layer.empty.size);
  const element = h("div", { class: "overview" },
    h("h1", { tabindex: "-1" }, title),
    h("p", { class: "lead" }, `What ${pictured < all ? `${count(pictured)} of ${plural(all, "channel")}` : plural(all, "channel")} of ${model} respond to: for each channel, the ${k === 1 ? "strongest unit" : `${k} strongest units`} in ${plural(images, "image")} of ${dataset}, and their ${style} projections to the input of ${by(input.slice(-2))} pixels.`),
    random ? h("p", { class: "notice warning", role: "status" }, h("b", null, "Random weights. "), "This network was not trained, so its channels show what the architecture does and nothing that was learnt.") : null,
    unfinished(missing),
    broken(files),
    h("ol", { class: "layers" }, layers.map(card)),
    h("details", { class: "provenance" }, h("summary", null, "How this atlas was made"),
      pairs([["model", model], ["dataset", dataset], ["style", style], ...Object.entries(provenance)], "facts")),
    h("p", { class: "made muted" }, "Made with deconvviz", version ? ` ${version}` : ""));

  /** @type {() => HTMLAnchorElement[]} */
  const links = () => [...element.querySelectorAll(/** @type {"a"} */ (".cover-link"))];

  /** @param {number} step */
  function move(step) {
    const all = links();
    const at = all.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
    if (next) next.focus();
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step === undefined || event.shiftKey) return false;
    move(step);
    return true;
  }

  /** @param {import("./main.js").Route | null} from */
  function arrive(from) {
    const address = from && from.layer && link(from.layer);
    const last = links().find((one) => one.getAttribute("href") === address);
    if (last && !search.isUsed()) last.focus({ preventScroll: true });
  }

  return { element, title: null, key, arrive };
}
return { view };
})();

// atlas/main.js
const $atlas_main = (() => {
// From the address to what is shown, and the keys and buttons that work everywhere.

const { byId, h } = $shared_elements;
const keys = $shared_keys;
const search = $shared_search;
const theme = $shared_theme;
const channelPage = $atlas_channel;
const { atlas } = $atlas_data;
const found = $atlas_found;
const grid = $atlas_grid;
const overview = $atlas_overview;
const { link } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {{ layer?: Layer, channel?: number, query?: string }} Route */

/**
 * A page: `key` does what a key means, on the way to a route that may not be shown yet, and returns whether it means
 * anything; `arrive` is called when the page is in the document, with the route before and the place where it was
 * scrolled to.
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string | null} title
 * @property {(event: KeyboardEvent, ahead: Route) => boolean} [key]
 * @property {(from: Route | null, scrolled: number) => void} [arrive]
 * @property {() => void} [leave]
 */

theme.restore(); // before the page is painted, so that nothing flashes

/** @type {Map<string, number>} */
const scrolled = new Map(); // overview, grid or channels -> where it was left
/** @type {{ address: string, route: Route, view: View, place: string } | null} */
let shown = null;
let latest = 0;
/** Keys for a page that is on its way. @type {KeyboardEvent[]} */
const early = [];
let searchAgain = () => {};

/**
 * The layer, channel and query of an address such as #/features.3/17?sort=firing; throws where there is none such.
 * @param {string} hash
 * @returns {Route}
 */
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?");
  if (!path) return { query };
  const [name, number, ...rest] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const layer = atlas.layer(name);
  if (!layer && (atlas.index.unfinished || []).includes(name)) throw new Error(`Layer “${name}” is not built yet. Reload the page later.`);
  if (!layer) throw new Error(`There is no layer “${name}” in this atlas.`);
  if (number === undefined) return { layer, query };
  const channel = Number(number);
  if (rest.length || !/^\d+$/.test(number) || channel >= layer.channels) {
    throw new Error(`There is no channel “${[number, ...rest].join("/")}” in ${layer.name}; its channels are 0 to ${layer.channels - 1}.`);
  }
  return { layer, channel, query };
}

/** @param {Error} error @returns {View} */
function message(error) {
  const element = h("div", null, h("p", { class: "notice", role: "alert" }, error.message));
  if (atlas.index) element.append(h("p", null, h("a", { href: "#/" }, "All layers")));
  return { element, title: "Not found" };
}

/** @param {Route} route @returns {Promise<View> | View} */
function viewOf({ layer, channel, query = "" }) {
  if (!layer) return overview.view();
  return channel === undefined ? grid.view(layer, query, rename) : channelPage.view(layer, channel);
}

/**
 * Gives what is shown another address, as a grid does when its options change.
 * @param {string} address
 */
function rename(address) {
  if (!shown || shown.address !== location.hash) return; // another page is on its way
  history.replaceState(null, "", address);
  shown.address = location.hash;
}

/** After quick keys the first of their events finds the last address; what is shown already stays, with its focus. */
async function show() {
  const main = byId("main");
  const ticket = ++latest;
  const address = location.hash;
  if (shown && shown.address === address) return;
  /** @type {Route} */
  let route = {};
  /** @type {View} */
  let view;
  try {
    if (!atlas.index) {
      await atlas.open();
      searchAgain();
    }
    route = parse(address);
    view = await viewOf(route);
  } catch (error) {
    view = message(/** @type {Error} */ (error));
  }
  if (ticket !== latest) return;
  const from = shown && shown.route;
  if (shown) {
    scrolled.set(shown.place, scrollY);
    if (shown.view.leave) shown.view.leave();
  }
  shown = { address, route, view, place: placeOf(route) };
  main.replaceChildren(view.element);
  document.title = [view.title, atlas.index && atlas.index.title].filter(Boolean).join(" – ");
  byId("home").textContent = atlas.index ? atlas.index.title : document.title;
  const kept = scrolled.get(shown.place) || 0;
  scrollTo(0, route.layer ? 0 : kept);
  const heading = main.querySelector("h1");
  if (heading && from && !search.isUsed()) heading.focus({ preventScroll: true });
  if (view.arrive) view.arrive(from, kept);
  while (early.length && address === location.hash) key(/** @type {KeyboardEvent} */ (early.shift()));
}

/**
 * A grid is one place whatever it is sorted by; a channel begins at its top.
 * @param {Route} route
 */
function placeOf({ layer, channel, query }) {
  if (channel !== undefined) return "channel";
  return layer ? String(layer.number) : query === undefined ? "nowhere" : "overview";
}

/** Where the address leads, which quick keys have changed before it is shown; of none, the overview. @returns {Route} */
function ahead() {
  try {
    return parse(location.hash);
  } catch {
    return {};
  }
}

function up() {
  const { layer, channel } = ahead();
  location.hash = layer && channel !== undefined ? link(layer, undefined, grid.lastQuery(layer)) : "#/";
}

/** @param {number} step */
function beside(step) {
  const { layer } = ahead();
  const next = layer && atlas.index.layers[layer.number + step];
  if (next) location.hash = link(next, undefined, grid.lastQuery(next));
}

/** @param {KeyboardEvent} event */
function key(event) {
  if (event.key === "Escape") up();
  else if (event.shiftKey && event.key === "ArrowLeft") beside(-1);
  else if (event.shiftKey && event.key === "ArrowRight") beside(1);
  else if (!shown || (shown.address !== location.hash && !withinLayer(shown.route, ahead()))) {
    if (!/^(Arrow.*|p)$/i.test(event.key)) return false;
    early.push(event);
  } else return Boolean(shown.view.key && shown.view.key(event, ahead()));
  return true;
}

/** @param {Route} one @param {Route} other @returns whether both are channels of a layer */
const withinLayer = (one, other) => one.layer === other.layer && one.channel !== undefined && other.channel !== undefined;

document.addEventListener("DOMContentLoaded", () => {
  keys.attach(key);
  theme.attach(byId("theme"));
  searchAgain = search.attach(() => (atlas.index ? atlas.index.layers : []), () => ahead().layer,
    (layer, channel, query) => { location.hash = link(layer, channel, query); }, found.like);
  history.scrollRestoration = "manual";
  addEventListener("hashchange", show);
  show();
});
return {  };
})();
})();
