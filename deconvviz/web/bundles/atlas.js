// Made from the modules in deconvviz/web by `python -m frontend.bundle`: change those, not this file.
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

/** @param {number[]} shape */
const by = (shape) => shape.map((side) => number(side)).join(" × ");

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
/** @typedef {[layer: any, channel: number | undefined]} Hit */

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
  return [...whole, ...channels].slice(0, MOST);
}

/**
 * Makes the page's field a search.
 * @param {() => Layer[]} layers
 * @param {() => Layer | undefined} here the layer that is shown
 * @param {(layer: any, channel: number | undefined) => void} open
 */
function attach(layers, here, open) {
  /** @type {HTMLInputElement} */
  const input = byId("search");
  const list = byId("found");
  /** @type {Hit[]} */
  let hits = [];
  let active = 0;

  function mark(/** @type {number} */ to) {
    active = Math.max(0, Math.min(hits.length - 1, to));
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(hits.length > 0 && at === active)));
    if (hits.length) {
      input.setAttribute("aria-activedescendant", `found-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function update() {
    hits = find(input.value, layers(), here());
    const items = hits.map(([layer, channel], at) => {
      const words = channel === undefined ? plural(layer.channels, "channel") : `channel ${channel}`;
      return h("li", { role: "option", id: `found-${at}`, "data-at": at }, h("b", null, layer.name), " ", h("span", { class: "muted" }, words));
    });
    const none = Boolean(input.value.trim()) && !hits.length;
    list.replaceChildren(...(none ? [h("li", { class: "muted", role: "option", "aria-disabled": "true" }, "no such layer or channel")] : items));
    reveal(hits.length > 0 || none);
    mark(0);
  }

  function reveal(/** @type {boolean} */ shown) {
    list.hidden = !shown;
    input.setAttribute("aria-expanded", String(shown));
  }

  function go(/** @type {number} */ at) {
    if (!hits[at]) return;
    const [layer, channel] = hits[at];
    input.value = "";
    update();
    input.blur();
    open(layer, channel);
  }

  input.addEventListener("input", update);
  input.addEventListener("focus", () => {
    input.select();
    update();
  });
  input.addEventListener("blur", () => reveal(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) mark(active + step);
    else if (event.key === "Enter") go(active);
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
}
return { find, attach };
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

/**
 * The picture of a data address as a short address, which many elements can use.
 * @param {string} data
 */
function blobOf(data) {
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
}

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
 * A single picture; small ones are enlarged with sharp pixels.
 * @param {HTMLImageElement} element
 * @param {string} url
 * @param {string} alt
 * @param {number} width pixels of the picture
 */
function picture(element, url, alt, width) {
  element.src = url;
  element.alt = alt;
  element.classList.toggle("sharp", width <= 96);
  element.draggable = false;
  return element;
}
return { blobOf, paint, paintCell, image, picture };
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
 * @param {number} part 0 its patch, 1 its projection, 2 its projection from random weights, which has its own file
 * @returns {import("../shared/pictures.js").Part}
 */
function tile(layer, channel, unit, part) {
  const block = Math.floor(channel / layer.block);
  const channels = Math.min(layer.block, layer.channels - block * layer.block);
  const [height, width] = layer.tile;
  const [down, across] = [height + atlas.index.gutter, width + atlas.index.gutter];
  const [name, rows, row] = part === 2 ? [`r${block}`, 1, 0] : [block, 2, part];
  return {
    file: `${root}sheets/${layer.number}-${name}.webp`,
    sheet: [rows * channels * down, atlas.index.k * across + atlas.index.gutter],
    at: [(rows * (channel % layer.block) + row) * down, unit * across],
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
  load, open, details, cell, tile, picture, layer: (/** @type {string} */ name) => byName.get(name), index: /** @type {any} */ (null),
};
return { atlas };
})();

// atlas/evidence.js
const $atlas_evidence = (() => {
// The scores of a channel's projections, as badges with explanations, and the switch to random weights.

const { h, plural } = $shared_elements;
const { atlas } = $atlas_data;

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
function badges(data, channel, units, state) {
  const without = state === "dead" ? UNJUDGED.dead : units.length ? null : UNJUDGED.empty;
  const judged = (/** @type {string} */ name, /** @type {string} */ words, /** @type {typeof gain} */ describe) => badge(name, data[name][channel]
    ? describe(data[name][channel]) : [`${words}: not scored`, "none", without || UNJUDGED[name]]);
  return [...judged("gain", "Faithfulness", gain), ...judged("alike", "Specificity", alike)];
}

// Whether random weights are shown: set by the address or by the last switch.

let random = false;

const isRandom = () => random;

function toggle() {
  random = !random;
}

/**
 * Applies the query of an address.
 * @param {string} query
 */
function asked(query) {
  if (new URLSearchParams(query).get("weights") === "random") random = true;
}

/** The query of a channel's address. */
const query = () => (random ? "weights=random" : "");
return { badges, isRandom, toggle, asked, query };
})();

// atlas/parts.js
const $atlas_parts = (() => {
// What the atlas's pages have in common: the states of channels, links, mosaics and facts.

const { by, h } = $shared_elements;
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
return { STATES, link, mosaic, facts };
})();

// atlas/grid.js
const $atlas_grid = (() => {
// All channels of a layer. Only the rows in view are in the document, however many channels there are.

const { breakable, count, h, number, pairs, percent, plural } = $shared_elements;
const { paint } = $shared_pictures;
const { atlas } = $atlas_data;
const { facts, link, STATES } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {{ sort: string, hide: string[], show: string }} Options */
/**
 * What the grid knows of its channels, by their numbers.
 * @typedef {object} Statistics
 * @property {string[]} state
 * @property {number[]} firing
 * @property {number[]} maximum
 * @property {([number, number] | null)[]} gain
 * @property {([number, number] | null)[]} alike
 */

/** @type {Record<string, string>} */
const SORTS = { channel: "channel number", firing: "firing rate", strength: "maximum", gain: "least faithful", alike: "least specific" };
const JUDGED = ["gain", "alike"]; // in atlases with evidence
const GAP = 8;
const CAPTION = 34; // pixels below a mosaic; as in style.css
const AHEAD = 300; // pixels above and below the view that are filled too
const SHEETS = 3; // unpacked per frame: sorted, every cell of a row may lie in another one

// What a layer's grid was last asked for: a channel's neighbours are those in its grid.
/** @type {Map<number, Options>} */
const asked = new Map();

const sorts = () => Object.keys(SORTS).filter((sort) => atlas.index.evidence || !JUDGED.includes(sort));

/**
 * The options in a route's query; what is unknown is left out.
 * @param {string} query
 * @returns {Options}
 */
function options(query) {
  const given = new URLSearchParams(query);
  const sort = given.get("sort") || "";
  const hide = (given.get("hide") || "").split(",");
  return {
    sort: sorts().includes(sort) ? sort : "channel",
    hide: Object.keys(STATES).filter((kind) => hide.includes(kind)),
    show: given.get("show") === "patches" ? "patches" : "projections",
  };
}

/**
 * The query of options, without what is the default.
 * @param {Options} options
 */
function query({ sort, hide, show }) {
  const parts = [];
  if (sort !== "channel") parts.push(`sort=${sort}`);
  if (hide.length) parts.push(`hide=${hide.join(",")}`);
  if (show !== "projections") parts.push(`show=${show}`);
  return parts.join("&");
}

/** @param {Layer} layer */
const lastQuery = (layer) => query(asked.get(layer.number) || options(""));

/**
 * What channels are sorted by, the highest first; what speaks most against a picture is the highest.
 * @param {Statistics} data
 * @param {string} sort
 * @returns {number[]}
 */
function keys(data, sort) {
  if (sort === "gain") return data.gain.map((one) => (one ? -one[0] : -Infinity));
  if (sort === "alike") return data.alike.map((one) => (one ? one[0] : -Infinity));
  return (sort === "firing" ? data.firing : data.maximum).map((value) => (value === null ? -Infinity : value));
}

/**
 * What a channel's caption says beside its number.
 * @param {Statistics} data
 * @param {string} sort
 * @param {number} channel
 */
function words(data, sort, channel) {
  if (JUDGED.includes(sort)) {
    const measured = data[/** @type {"gain" | "alike"} */ (sort)][channel];
    return measured ? number(measured[0]) : "–";
  }
  return sort === "strength" ? number(data.maximum[channel]) : percent(data.firing[channel]);
}

/**
 * Channel numbers, filtered and sorted; those alike by number.
 * @param {Statistics} data
 * @param {Options} options
 */
function order(data, { sort, hide }) {
  const channels = data.state.map((_, channel) => channel).filter((channel) => !hide.includes(data.state[channel]));
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
  const shown = order(data, asked.get(layer.number) || options(""));
  return shown.includes(channel) ? shown : order(data, options(""));
}

/**
 * @param {Layer} layer
 * @param {string} asking the query of the address
 * @returns {Promise<import("./main.js").View>}
 */
async function view(layer, asking) {
  /** @type {Statistics} */
  const data = await atlas.load(String(layer.number));
  const chosen = options(asking);
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
  const show = h("button", { type: "button", id: "show", "aria-pressed": String(chosen.show === "patches") }, "image patches");
  const status = h("p", { class: "status", role: "status" });
  const tools = h("div", { class: "tools" },
    h("label", { for: "sort" }, "sort by"), sort, hide.map(({ box, label }) => h("span", { class: "check" }, box, label)), show, status);
  const cells = h("ul", { class: "cells", "aria-label": `Channels of ${layer.name}` });
  const element = h("div", { class: "grid" },
    h("h1", { tabindex: "-1" }, breakable(layer.name)), h("p", { class: "lead" }, plural(layer.channels, "channel")),
    pairs(facts(layer), "facts inline"), tools, cells);

  tools.addEventListener("change", () => {
    chosen.sort = sort.value;
    chosen.hide = Object.keys(STATES).filter((_, at) => hide[at].box.checked);
    changed();
  });
  show.addEventListener("click", () => {
    chosen.show = chosen.show === "patches" ? "projections" : "patches";
    show.setAttribute("aria-pressed", String(chosen.show === "patches"));
    changed();
  });

  function changed() {
    history.replaceState(null, "", link(layer, undefined, query(chosen)));
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
    const bar = h("i");
    const anchor = h("a", null, mosaic, h("span", { class: "caption" }, name, words), h("span", { class: "rate" }, bar));
    const part = /** @type {import("../shared/pictures.js").Part | null} */ (null);
    return { item: h("li", null, anchor), anchor, mosaic, name, words, bar, part, painted: false };
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
    cell.anchor.setAttribute("aria-label",
      `Channel ${channel}, ${kind ? STATES[kind].name : `fires ${firing}`}, maximum ${number(data.maximum[channel])}`);
    cell.name.textContent = String(channel);
    cell.words.textContent = words(data, chosen.sort, channel);
    cell.bar.style.width = `${100 * (data.firing[channel] || 0)}%`;
    cell.mosaic.style.aspectRatio = `${layer.cell[1]} / ${layer.cell[0]}`;
    const empty = layer.empty.has(channel);
    cell.mosaic.classList.toggle("empty", empty);
    cell.mosaic.textContent = empty ? (kind === "dead" ? "dead" : "no picture") : "";
    cell.part = empty ? null : atlas.cell(layer, channel, chosen.show === "patches" ? "p" : "t");
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
    if (last >= 0) focus(last);
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

// atlas/channel.js
const $atlas_channel = (() => {
// One channel: its strongest patches and projections, their place in the full image, firing statistics and what feeds it.

const { breakable, by, count, h, number, pairs, percent, plural, s } = $shared_elements;
const { image } = $shared_pictures;
const { atlas } = $atlas_data;
const evidence = $atlas_evidence;
const grid = $atlas_grid;
const { facts, link, mosaic, STATES } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */

const WORDS = [["Image patch", "Image patches"], ["Projection", "Projections"], ["Projection from random weights", "Projections from random weights"]];

/**
 * The pictures of all units as a square.
 * @param {Layer} layer
 * @param {number} channel
 * @param {any[]} units
 * @param {number} part 0 patches, 1 projections, 2 those from random weights
 */
function square(layer, channel, units, part) {
  const [words, title] = WORDS[part];
  const tiles = units.map(([value, , name, label], at) => {
    const tile = image(atlas.tile(layer, channel, at, part), `${words} ${at + 1}: ${label || name}, activation ${number(value)}`, layer.tile[2] > 1);
    tile.dataset.unit = String(at);
    return tile;
  });
  const across = Math.ceil(Math.sqrt(atlas.index.k));
  const cells = h("div", { class: "square" }, tiles);
  cells.style.gridTemplateColumns = `repeat(${across}, 1fr)`;
  return h("figure", { class: part === 2 ? "pictures random" : "pictures" }, h("figcaption", null, title), cells);
}

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

/** @param {number[]} numbers @param {any[]} units */
function unitList(numbers, units) {
  return h("ol", { class: "units" }, units.map((unit, at) => {
    const [value, image_, name, label, , position] = unit;
    const where = position.length === 2 ? `row ${position[0]}, column ${position[1]} of the map`
      : position.length ? `position ${position.join(", ")} of the map` : "";
    const item = h("li", null, place(numbers, unit),
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
    return h("li", null, h("a", { href: link(layer, channel) }, mosaic(layer, channel, "t"), text));
  })));
}

/**
 * @param {Layer} layer
 * @param {number} channel
 * @param {string} query
 * @returns {Promise<import("./main.js").View>}
 */
async function view(layer, channel, query) {
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
  evidence.asked(query);
  const shown = () => square(layer, channel, units, atlas.index.evidence && evidence.isRandom() ? 2 : 1);
  let projections = shown();
  const pictures = units.length
    ? [h("div", { class: "pair" }, square(layer, channel, units, 0), projections),
      h("h2", null, "In the full image"), unitList(numbers, units)]
    : [h("p", { class: "notice" }, state === "dead" ? "This channel is dead: it is above zero at no position of these images, so there is nothing to show." : "There are no pictures of this channel.")];
  const weights = h("button", { type: "button", id: "weights", "aria-pressed": String(evidence.isRandom()), title: "The same units in a network with random weights (W)" }, "random weights");
  const judged = atlas.index.evidence
    ? h("div", { class: "evidence", role: "group", "aria-label": "Evidence" }, evidence.badges(data, channel, units, state), units.length ? weights : null) : null;
  const element = h("article", { class: "channel" },
    h("div", { class: "heading" },
      step(before, "←", "Previous"),
      h("div", { class: "title" },
        h("h1", { tabindex: "-1" }, h("a", { href: link(layer, undefined, grid.lastQuery(layer)) }, breakable(layer.name)), h("span", null, ` channel ${channel}`)),
        state ? h("span", { class: `badge ${state}`, title: STATES[state].title }, STATES[state].name) : null),
      step(after, "→", "Next")),
    h("div", { class: "columns" },
      pairs(numbersList, "numbers"),
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

  function swap() {
    evidence.toggle();
    weights.setAttribute("aria-pressed", String(evidence.isRandom()));
    const other = shown();
    projections.replaceWith(other);
    projections = other;
    address();
  }
  weights.addEventListener("click", swap);

  /** Puts the choice of weights into the address, so that it can be shared. */
  function address() {
    if (atlas.index.evidence) history.replaceState(null, "", link(layer, channel, evidence.query()));
  }

  let going = at; // ahead of `at` while a key is held and the next channel is loading

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key.toLowerCase() === "w" && weights.isConnected) {
      swap();
      return true;
    }
    if (event.shiftKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return false;
    const next = going + (event.key === "ArrowLeft" ? -1 : 1);
    if (next < 0 || next >= order.length) return true;
    going = next;
    location.hash = link(layer, order[next]);
    return true;
  }

  return { element, title: `${layer.name} channel ${channel}`, key, arrive: address };
}
return { view };
})();

// atlas/overview.js
const $atlas_overview = (() => {
// All layers, from the input up.

const { breakable, by, count, h, pairs, plural } = $shared_elements;
const { atlas } = $atlas_data;
const { facts, link, mosaic, STATES } = $atlas_parts;

/** @param {import("./data.js").Layer} layer */
function card(layer) {
  const badges = [];
  for (const [kind, { name, title }] of Object.entries(STATES)) {
    const channels = layer[/** @type {"dead" | "always"} */ (kind)];
    if (channels) badges.push(h("span", { class: `badge ${kind}`, title }, `${count(channels)} ${name}`));
  }
  const cover = h("span", { class: "cover", "aria-hidden": "true" }, layer.cover.map((channel) => mosaic(layer, channel, "t")));
  const title = h("h2", null, h("a", { href: link(layer), class: "cover-link" }, breakable(layer.name)));
  const words = h("p", { class: "channels" }, plural(layer.channels, "channel"), badges.length ? " " : "", badges);
  return h("li", { class: "card" }, h("div", { class: "card-text" }, title, words, pairs(facts(layer), "facts")), cover);
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
  const { title, model, dataset, images, k, style, input, layers, broken: files, provenance, unfinished: missing } = atlas.index;
  const channels = layers.reduce((/** @type {number} */ sum, /** @type {any} */ layer) => sum + layer.channels, 0);
  const element = h("div", { class: "overview" },
    h("h1", { tabindex: "-1" }, title),
    h("p", { class: "lead" }, `What ${plural(channels, "channel")} of ${model} respond to: for each channel, the ${k === 1 ? "strongest unit" : `${k} strongest units`} in ${plural(images, "image")} of ${dataset}, and their ${style} projections to the input of ${by(input.slice(-2))} pixels.`),
    unfinished(missing),
    broken(files),
    h("ol", { class: "layers" }, layers.map(card)),
    h("details", { class: "provenance" }, h("summary", null, "How this atlas was made"),
      pairs([["model", model], ["dataset", dataset], ["style", style], ...Object.entries(provenance)], "facts")));

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
    if (last) last.focus({ preventScroll: true });
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
const grid = $atlas_grid;
const overview = $atlas_overview;
const { link } = $atlas_parts;

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {{ layer?: Layer, channel?: number, query?: string }} Route */

/**
 * A page: `key` does what a key means and returns whether it means anything; `arrive` is called when the page is in
 * the document, with the route before and the place where it was scrolled to.
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string | null} title
 * @property {(event: KeyboardEvent) => boolean} [key]
 * @property {(from: Route | null, scrolled: number) => void} [arrive]
 * @property {() => void} [leave]
 */

theme.restore(); // before the page is painted, so that nothing flashes

/** @type {Map<string, number>} */
const scrolled = new Map(); // overview, grid or channels -> where it was left
/** @type {{ route: Route, view: View, place: string } | null} */
let shown = null;
let latest = 0;

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
  return channel === undefined ? grid.view(layer, query) : channelPage.view(layer, channel, query);
}

async function show() {
  const main = byId("main");
  const ticket = ++latest;
  const address = location.hash;
  /** @type {Route} */
  let route = {};
  /** @type {View} */
  let view;
  try {
    if (!atlas.index) await atlas.open();
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
  shown = { route, view, place: placeOf(route) };
  main.replaceChildren(view.element);
  document.title = [view.title, atlas.index && atlas.index.title].filter(Boolean).join(" – ");
  byId("home").textContent = atlas.index ? atlas.index.title : document.title;
  const kept = scrolled.get(shown.place) || 0;
  scrollTo(0, route.layer ? 0 : kept);
  const heading = main.querySelector("h1");
  if (heading && from) heading.focus({ preventScroll: true });
  if (view.arrive) view.arrive(from, kept);
}

/**
 * A grid is one place whatever it is sorted by; a channel begins at its top.
 * @param {Route} route
 */
function placeOf({ layer, channel, query }) {
  if (channel !== undefined) return "channel";
  return layer ? String(layer.number) : query === undefined ? "nowhere" : "overview";
}

function up() {
  if (!shown) return;
  const { layer, channel } = shown.route;
  location.hash = layer && channel !== undefined ? link(layer, undefined, grid.lastQuery(layer)) : "#/";
}

/** @param {number} step */
function beside(step) {
  const layer = shown && shown.route.layer;
  const next = layer && atlas.index.layers[layer.number + step];
  if (next) location.hash = link(next, undefined, grid.lastQuery(next));
}

/** @param {KeyboardEvent} event */
function key(event) {
  if (event.key === "Escape") up();
  else if (event.shiftKey && event.key === "ArrowLeft") beside(-1);
  else if (event.shiftKey && event.key === "ArrowRight") beside(1);
  else return Boolean(shown && shown.view.key && shown.view.key(event));
  return true;
}

document.addEventListener("DOMContentLoaded", () => {
  keys.attach(key);
  theme.attach(byId("theme"));
  search.attach(() => (atlas.index ? atlas.index.layers : []), () => (shown ? shown.route.layer : undefined),
    (layer, channel) => { location.hash = link(layer, channel); });
  history.scrollRestoration = "manual";
  addEventListener("hashchange", show);
  show();
});
return {  };
})();
})();
