// The feature maps of a layer as a grid, which is walked with the arrow keys.

import { breakable, by, byId, count, h, number, plural } from "../shared/elements.js";
import { blobOf, paintCell } from "../shared/pictures.js";
import * as stage from "./stage.js";

const AT_FIRST = 256;
/** @type {any} */
let found = null;
/** @type {import("../shared/pictures.js").Sprite | null} */
let sprite = null;
let own = -1;
let sorting = "strength";
let shown = AT_FIRST;
let layerName = "";
/** @type {number[]} */
let order = [];
/** @type {(channel: number) => void} */
let chosen = () => {};

/** @param {typeof chosen} choose */
export function attach(choose) {
  chosen = choose;
  const list = byId("maps");
  list.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const button = cellOf(event);
    if (button) chosen(Number(button.dataset.channel));
  });
  list.addEventListener("keydown", move);
  for (const kind of ["pointerover", "focusin"]) {
    list.addEventListener(kind, (/** @type {Event} */ event) => {
      const button = cellOf(event);
      if (button && (kind === "pointerover" || button.matches(":focus-visible"))) stage.overlay(sprite, Number(button.dataset.channel));
    });
  }
  for (const kind of ["pointerleave", "focusout"]) list.addEventListener(kind, () => stage.overlay(null, 0));
  byId("more").addEventListener("click", () => {
    shown += 4 * AT_FIRST;
    draw();
  });
}

/** @param {Event} event @returns {HTMLElement | null} */
const cellOf = (event) => /** @type {HTMLElement} */ (event.target).closest("button[data-channel]");

/** @param {KeyboardEvent} event */
function move(event) {
  const cells = /** @type {HTMLElement[]} */ ([...byId("maps").querySelectorAll("button")]);
  const at = cells.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  if (at < 0 || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const top = cells[0].offsetTop;
  const across = Math.max(1, cells.filter((cell) => cell.offsetTop === top).length);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
  const step = /** @type {Record<string, number>} */ (steps)[event.key];
  if (!step || !cells[at + step]) return;
  event.preventDefault();
  for (const cell of cells) cell.tabIndex = -1;
  cells[at + step].tabIndex = 0;
  cells[at + step].focus();
}

/**
 * @param {any} layer the layer's row
 * @param {any} maps what the server says of its maps
 * @param {string} sort
 * @param {number | null} channel
 */
export function show(layer, maps, sort, channel) {
  const old = sprite;
  if (layer.name !== layerName) shown = AT_FIRST;
  layerName = layer.name;
  found = maps;
  sprite = maps.sprite ? { ...maps.sprite, url: blobOf(maps.sprite.url) } : null;
  own = channel === null ? -1 : channel;
  sorting = sort;
  byId("maps-part").hidden = false;
  byId("layer-name").replaceChildren(...breakable(layer.name || "the whole model"));
  const field = layer.field ? `Each unit sees ${by(layer.field)} pixels` : "Each unit sees the whole input";
  const stride = layer.stride ? `, every ${by(layer.stride)}` : "";
  const linearised = layer.linearised.length ? ` Linearised: ${layer.linearised.join(", ")}.` : "";
  byId("layer-facts").textContent = `${layer.kind}, ${plural(maps.channels, "channel")}${maps.dims.length ? ` of ${by(maps.dims)}` : ""}. ${field}${stride}.${linearised}`;
  draw();
  if (old) setTimeout(() => URL.revokeObjectURL(old.url), 1000);
}

/** @param {string} sort */
export function sortBy(sort) {
  sorting = sort;
  if (found) draw();
}

/** @param {number | null} channel */
export function choose(channel) {
  own = channel === null ? -1 : channel;
  for (const button of byId("maps").querySelectorAll("button")) mark(button);
}

/** @param {HTMLElement} button */
function mark(button) {
  const mine = Number(button.dataset.channel) === own;
  button.setAttribute("aria-pressed", String(mine));
}

function draw() {
  const values = sorting === "selective" ? found.selective : found.maximum;
  order = [...found.maximum.keys()];
  if (sorting !== "number") order.sort((a, b) => values[b] - values[a] || a - b);
  const strongest = Math.max(...found.maximum, 1e-30);
  const list = byId("maps");
  const focused = list.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.channel : null;
  const now = order.slice(0, shown);
  while (list.children.length > now.length) list.lastElementChild.remove();
  list.classList.toggle("flat", !sprite);
  now.forEach((channel, at) => {
    const item = list.children[at] || list.appendChild(cell());
    const button = /** @type {HTMLElement} */ (item.firstElementChild);
    const [mosaic, caption, rate] = /** @type {HTMLElement[]} */ ([...button.children]);
    const name = found.names ? ` ${found.names[channel]}` : "";
    button.dataset.channel = String(channel);
    button.tabIndex = at === 0 ? 0 : -1;
    button.setAttribute("aria-label", `Channel ${channel}${name}, strongest ${number(found.maximum[channel])}`);
    button.classList.toggle("silent", !(found.maximum[channel] > 0));
    mosaic.hidden = !sprite;
    if (sprite) paintCell(mosaic, sprite, channel);
    /** @type {HTMLElement} */ (caption.firstElementChild).textContent = `${channel}${name}`;
    /** @type {HTMLElement} */ (caption.lastElementChild).textContent = number(found.maximum[channel]);
    /** @type {HTMLElement} */ (rate.firstElementChild).style.width = `${Math.max(0, (100 * found.maximum[channel]) / strongest)}%`;
    mark(button);
    if (focused === String(channel)) button.focus({ preventScroll: true });
  });
  byId("more").hidden = now.length === order.length;
  byId("more").textContent = `Show more (${count(now.length)} of ${count(found.channels)})`;
}

function cell() {
  return h("li", null, h("button", { type: "button", class: "map" },
    h("span", { class: "mosaic" }),
    h("span", { class: "caption" }, h("b"), h("span")),
    h("span", { class: "rate" }, h("i"))));
}

/**
 * The channel so many further on in the grid's order.
 * @returns {number[]}
 */
export const inOrder = () => order;
