// All channels of a layer. Only the rows in view are in the document, however many channels there are.

import { breakable, count, h, number, pairs, percent, plural } from "../shared/elements.js";
import { paint } from "../shared/pictures.js";
import * as search from "../shared/search.js";
import { atlas } from "./data.js";
import { patchesFirst, VERDICTS } from "./evidence.js";
import { channelCount, facts, link, STATES } from "./parts.js";

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
export const lastQuery = (layer) => query(layer, asked.get(layer.number) || options(layer, ""));

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
export function neighbours(layer, data, channel) {
  const shown = order(data, asked.get(layer.number) || options(layer, ""));
  return shown.includes(channel) ? shown : order(data, options(layer, ""));
}

/**
 * @param {Layer} layer
 * @param {string} asking the query of the address
 * @param {(address: string) => void} rename told the address of changed options
 * @returns {Promise<import("./main.js").View>}
 */
export async function view(layer, asking, rename) {
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
