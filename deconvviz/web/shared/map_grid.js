// The feature maps of a layer as a grid, which is walked with the arrow keys.

import { count, h, number } from "./elements.js";
import { drawCell, loaded } from "./pictures.js";

const AT_FIRST = 256;

/** @typedef {import("./pictures.js").Drawable} Drawable */

/**
 * @typedef {object} Heard
 * @property {(channel: number) => void} choose a map was chosen
 * @property {(sprite: Drawable | null, cell: number) => void} over a map is pointed at; null where none is any more
 */

/**
 * Makes a list a grid of maps.
 * @param {HTMLElement} list
 * @param {HTMLElement} more the button that shows more of them
 * @param {Heard} heard
 */
export function gridIn(list, more, heard) {
  /** @type {any} */
  let found = null;
  /** @type {Drawable | null} */
  let sprite = null;
  /** The map that is pointed at. @type {HTMLElement | null} */
  let pointed = null;
  let turn = 0;
  let own = -1;
  let sorting = "strength";
  let shown = AT_FIRST;
  let layerName = "";

  const cells = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll("button")]);
  const focused = () => /** @type {HTMLElement | null} */ (/** @type {Document | ShadowRoot} */ (list.getRootNode()).activeElement);
  const cellOf = (/** @type {Event} */ event) => /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("button[data-channel]"));

  list.addEventListener("click", (event) => {
    const button = cellOf(event);
    if (button) heard.choose(Number(button.dataset.channel));
  });
  list.addEventListener("keydown", move);
  for (const kind of ["pointerover", "focusin"]) {
    list.addEventListener(kind, (event) => {
      const button = cellOf(event);
      if (button && (kind === "pointerover" || button.matches(":focus-visible"))) point(button);
    });
  }
  for (const kind of ["pointerleave", "focusout"]) list.addEventListener(kind, () => point(null));
  more.addEventListener("click", () => {
    const first = list.children.length;
    shown += 4 * AT_FIRST;
    draw();
    enter(cells(), first); // the button goes where there are no more, and the focus with it
  });

  /** @param {HTMLElement | null} button */
  function point(button) {
    pointed = button;
    heard.over(button && sprite, Number(button ? button.dataset.channel : 0));
  }

  /**
   * @param {HTMLElement[]} all
   * @param {number} at which of them the arrows move from
   * @param {boolean} [stays] whether the page does not move there
   */
  function enter(all, at, stays = false) {
    for (const cell of all) cell.tabIndex = -1;
    all[at].tabIndex = 0;
    all[at].focus({ preventScroll: stays });
  }

  /** @param {KeyboardEvent} event */
  function move(event) {
    const all = cells();
    const at = all.indexOf(/** @type {HTMLElement} */ (focused()));
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const top = all[0].offsetTop;
    const across = Math.max(1, all.filter((cell) => cell.offsetTop === top).length);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    const step = /** @type {Record<string, number>} */ (steps)[event.key];
    if (!step || !all[at + step]) return;
    event.preventDefault();
    event.stopPropagation(); // a notebook moves between its cells with the same keys
    enter(all, at + step);
  }

  /** @param {HTMLElement} button */
  function mark(button) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.channel) === own));
  }

  function draw() {
    const selective = sorting === "selective";
    const values = selective ? found.selective : found.maximum;
    const order = [...found.maximum.keys()];
    if (sorting !== "number") order.sort((a, b) => values[b] - values[a] || a - b);
    const strongest = Math.max(...found.maximum, 1e-30);
    const active = focused();
    const kept = active && list.contains(active) ? active.dataset.channel : null;
    const now = order.slice(0, shown);
    while (list.lastElementChild && list.children.length > now.length) list.lastElementChild.remove();
    list.classList.toggle("flat", !sprite);
    now.forEach((channel, at) => {
      const item = list.children[at] || list.appendChild(cell());
      const button = /** @type {HTMLElement} */ (item.firstElementChild);
      const [mosaic, caption, rate] = /** @type {HTMLElement[]} */ ([...button.children]);
      const name = found.names ? ` ${found.names[channel]}` : "";
      button.dataset.channel = String(channel);
      button.tabIndex = at === 0 ? 0 : -1;
      button.setAttribute("aria-label", `Channel ${channel}${name}, ${selective ? "selectivity" : "strongest"} ${number(values[channel])}`);
      button.classList.toggle("silent", !(found.maximum[channel] > 0));
      mosaic.hidden = !sprite;
      if (sprite) drawCell(/** @type {HTMLCanvasElement} */ (mosaic), sprite, channel);
      /** @type {HTMLElement} */ (caption.firstElementChild).textContent = `${channel}${name}`;
      /** @type {HTMLElement} */ (caption.lastElementChild).textContent = number(values[channel]);
      /** @type {HTMLElement} */ (rate.firstElementChild).style.width = `${Math.max(0, (100 * found.maximum[channel]) / strongest)}%`;
      mark(button);
    });
    if (kept !== null) { // the keyboard stays at its channel, or in its place
      const at = now.indexOf(Number(kept));
      enter(cells(), at >= 0 ? at : Math.max(0, cells().indexOf(/** @type {HTMLElement} */ (active))), true);
    }
    if (pointed) point(list.contains(pointed) ? pointed : null); // another image, or another map in its place
    more.hidden = now.length === order.length;
    more.textContent = `Show more (${count(now.length)} of ${count(found.channels)})`;
  }

  return {
    /**
     * @param {string} layer
     * @param {any} maps what is said of its maps
     * @param {string} sort "strength", "number" or "selective"
     * @param {number | null} channel the chosen one
     * @returns whether they are shown, and no newer ones have taken their place
     */
    async show(layer, maps, sort, channel) {
      const latest = ++turn;
      own = channel === null ? -1 : channel;
      sorting = sort;
      const next = maps.sprite ? { ...maps.sprite, sheet: await loaded(maps.sprite.url) } : null;
      if (latest !== turn) return false;
      if (layer !== layerName) shown = AT_FIRST;
      layerName = layer;
      found = maps;
      sprite = next;
      draw();
      return true;
    },

    /** @param {string} sort */
    sortBy(sort) {
      if (sorting === sort) return;
      sorting = sort;
      if (found) draw();
    },

    /** @param {number | null} channel */
    choose(channel) {
      own = channel === null ? -1 : channel;
      for (const button of cells()) mark(button);
    },
  };
}

function cell() {
  return h("li", null, h("button", { type: "button", class: "map" },
    h("canvas", { class: "mosaic" }),
    h("span", { class: "caption" }, h("b"), h("span")),
    h("span", { class: "rate" }, h("i"))));
}
