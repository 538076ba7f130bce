// Made from files in deconvviz/web by `python -m frontend.bundle`: change those, not this one.

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

// shared/layer_list.js
const $shared_layer_list = (() => {
// The layers from input to output as a list.

const { breakable, by, h, number, percent, plural } = $shared_elements;

/**
 * Makes a list that of the layers.
 * @param {HTMLElement} list
 * @param {(layer: string) => void} choose a layer was chosen
 */
function layersIn(list, choose) {
  /** @type {any[]} */
  let known = [];
  const items = () => /** @type {HTMLElement[]} */ ([...list.children]);

  /** @param {any} one */
  function row(one) {
    const bar = h("i");
    const field = one.field ? `sees ${by(one.field)}` : "sees the whole input";
    const button = h("button", { type: "button", disabled: !one.channels, title: `${percent(one.active)} of its values are above zero` },
      h("span", { class: "layer-name" }, ...breakable(one.name || "the whole model")),
      h("span", { class: "muted small" }, `${one.kind} · ${by(one.shape)} · ${field}`),
      h("span", { class: "rate", "aria-hidden": "true" }, bar));
    bar.style.width = `${100 * one.active}%`;
    button.addEventListener("click", () => choose(one.name));
    return h("li", { "data-layer": one.name }, button);
  }

  /** @param {string} layer the chosen one */
  function mark(layer) {
    for (const item of items()) {
      const own = item.dataset.layer === layer;
      /** @type {HTMLElement} */ (item.firstElementChild).toggleAttribute("aria-current", own);
      if (own && !item.classList.contains("own")) {
        const top = item.offsetTop - list.offsetTop; // alone: scrolling into view would move the page, too
        if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
          list.scrollTop = top - list.clientHeight / 2 + item.offsetHeight / 2;
        }
      }
      item.classList.toggle("own", own);
    }
  }

  return {
    mark,

    /**
     * @param {any[]} layers
     * @param {string} layer the chosen one
     */
    show(layers, layer) {
      const same = layers.length === known.length && list.children.length > 0 && layers.every((one, at) => one.name === known[at].name);
      known = layers;
      if (same) items().forEach((item, at) => { /** @type {HTMLElement} */ (item.querySelector("i")).style.width = `${100 * layers[at].active}%`; });
      else list.replaceChildren(...layers.map(row));
      mark(layer);
    },

    /** Layers with channels. */
    usable: () => known.filter((one) => one.channels),

    /** @param {string} name */
    layerOf: (name) => known.find((one) => one.name === name),

    /**
     * The layer so many further on.
     * @param {string} name
     * @param {number} step
     */
    beside(name, step) {
      const usable = known.filter((one) => one.channels);
      const next = usable[usable.findIndex((one) => one.name === name) + step];
      return next ? next.name : "";
    },

    /**
     * The first layer worth looking at: the first convolution.
     * @returns {string}
     */
    first() {
      const one = known.find((layer) => layer.kind.startsWith("Conv")) || known.find((layer) => layer.channels);
      return one ? one.name : "";
    },
  };
}

/**
 * What is said of a layer above its maps.
 * @param {any} layer
 * @param {any} maps
 */
function described(layer, maps) {
  const field = layer.field ? `Each unit sees ${by(layer.field)} pixels` : "Each unit sees the whole input";
  const stride = layer.stride ? `, every ${by(layer.stride)}` : "";
  const linearised = layer.linearised.length ? ` Linearised: ${layer.linearised.join(", ")}.` : "";
  return `${layer.kind}, ${plural(maps.channels, "channel")}${maps.dims.length ? ` of ${by(maps.dims)}` : ""}. ${field}${stride}.${linearised}`;
}

/**
 * The strongest classes, each of which leads to its unit.
 * @param {any[]} classes
 * @param {(layer: string, channel: number, position: string) => void} choose
 */
const classesIn = (classes, choose) => classes.map((one) => {
  const button = h("button", { type: "button" }, h("span", null, /^\d+$/.test(one.name) ? `class ${one.name}` : one.name), h("b", null, percent(one.share)));
  button.addEventListener("click", () => choose(one.layer, one.channel, ""));
  return h("li", null, button);
});

/**
 * The units that fire at a place of the image, by layer.
 * @param {string} at
 * @param {any[]} layers
 * @param {(layer: string, channel: number, position: string) => void} choose
 * @param {() => void} close
 */
function firingAt(at, layers, choose, close) {
  const button = h("button", { type: "button" }, "Close");
  button.addEventListener("click", close);
  const [down, right] = at.split(",");
  return [
    h("div", { class: "row" }, h("h3", { tabindex: "-1" }, `Firing at row ${down}, column ${right}`), button),
    ...(layers.length ? [] : [h("p", { class: "muted small" }, "No layer of this network has maps whose places in the image are known.")]),
    h("ul", { class: "places" }, ...layers.map((one) => h("li", null,
      h("span", { class: "layer-name" }, ...breakable(one.layer)),
      one.units.length
        ? h("span", { class: "row" }, ...one.units.map((/** @type {any} */ unit) => {
          const open = h("button", { type: "button", class: "chip", title: `${number(unit.value)}, ${percent(unit.share)} of the channel’s strongest in this image`, "aria-label": `${one.layer} channel ${unit.channel}, ${number(unit.value)}` },
            h("b", null, String(unit.channel)), ` ${number(unit.value)}`);
          open.addEventListener("click", () => choose(one.layer, unit.channel, one.position.join(",")));
          return open;
        }))
        : h("span", { class: "muted small" }, "none fires")))),
  ];
}
return { layersIn, described, classesIn, firingAt };
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

// shared/map_grid.js
const $shared_map_grid = (() => {
// The feature maps of a layer as a grid, which is walked with the arrow keys.

const { count, h, number } = $shared_elements;
const { drawCell, loaded } = $shared_pictures;

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
function gridIn(list, more, heard) {
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
return { gridIn };
})();

// shared/refusals.js
const $shared_refusals = (() => {
// Questions without an answer.

/** Nobody needs the answer any more. */
class Superseded extends Error {}

/** A sentence says why there is none. */
class Refused extends Error {}
return { Superseded, Refused };
})();

// shared/stage.js
const $shared_stage = (() => {
// The image under the network: the frame of the unit, the map over it, clicks and drags.

const { h } = $shared_elements;
const { drawCell, picture } = $shared_pictures;

/**
 * @typedef {object} Heard
 * @property {(at: string, goesOn: boolean) => void} place one that is chosen; whether that goes on from the one before
 * @property {Moves} [moves] where the image can be moved
 *
 * @typedef {object} Moves
 * @property {() => [number, number]} from how far down and right the image is to lie, which its picture may not show yet
 * @property {(down: number, right: number, goesOn: boolean) => void} to a drag, which begins or goes on
 */

/**
 * Makes an element show the image.
 * @param {HTMLElement} stage
 * @param {Heard} heard
 */
function stageIn(stage, heard) {
  const image = h("img", { class: "image", alt: "", draggable: "false" });
  const over = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "over", hidden: true, "aria-hidden": "true" }));
  const frame = h("div", { class: "frame", hidden: true, "aria-hidden": "true" });
  const cross = h("div", { class: "cross", hidden: true, "aria-hidden": "true" });
  let size = [1, 1];
  /** @type {[number, number] | null} */
  let pressed = null;
  let dragged = false;
  let moving = false; // and it has moved the image
  let start = [0, 0]; // how the image lay when it was pressed
  let flat = true; // an image, not a signal or a volume, which are not moved
  /** First pixel and one past the last, down and right. @type {number[][] | null} */
  let framed = null;
  let crossed = "";
  let walking = false; // with the keyboard

  stage.append(image, over, frame, cross);
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-label", `The image. Click a place, or go there with the arrow keys, to list the units that fire there${heard.moves ? "; drag to move the image" : ""}.`);

  /**
   * The place of an event, in pixels of the network's input.
   * @param {MouseEvent} event
   * @returns {[number, number]} down and right
   */
  function at(event) {
    const box = image.getBoundingClientRect();
    const part = (/** @type {number} */ offset, /** @type {number} */ whole, /** @type {number} */ pixels) =>
      Math.max(0, Math.min(pixels - 1, Math.floor((offset / whole) * pixels)));
    return [part(event.clientY - box.top, box.height, size[0]), part(event.clientX - box.left, box.width, size[1])];
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  function moved(event) {
    const box = image.getBoundingClientRect();
    const from = pressed || [event.clientY, event.clientX];
    return [
      start[0] + Math.round(((event.clientY - from[0]) / box.height) * size[0]),
      start[1] + Math.round(((event.clientX - from[1]) / box.width) * size[1]),
    ];
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !image.src) return;
    pressed = [event.clientY, event.clientX];
    dragged = false;
    moving = false;
    if (heard.moves) start = heard.moves.from();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!(event.buttons & 1)) pressed = null; // it was let go elsewhere
    if (!pressed || !heard.moves || !flat) return;
    if (!dragged && Math.hypot(event.clientY - pressed[0], event.clientX - pressed[1]) < 5) return;
    dragged = true;
    stage.setPointerCapture(event.pointerId);
    const [down, right] = moved(event);
    if (!moving && down === start[0] && right === start[1]) return;
    heard.moves.to(down, right, moving);
    moving = true;
  });
  stage.addEventListener("pointerup", (event) => {
    if (!pressed) return;
    if (!dragged) heard.place(at(event).join(","), false);
    else if (moving && heard.moves) heard.moves.to(...moved(event), true);
    pressed = null;
  });
  stage.addEventListener("pointercancel", () => { pressed = null; });
  for (const kind of ["pointerdown", "blur"]) stage.addEventListener(kind, () => { walking = false; });
  stage.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = /** @type {Record<string, number[]>} */ (steps)[event.key];
    if (!step || !image.src || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const from = crossed ? crossed.split(",").map(Number) : size.map((pixels) => Math.floor(pixels / 2));
    const place = from.map((pixel, axis) => Math.max(0, Math.min(size[axis] - 1, pixel + (crossed ? step[axis] : 0))));
    heard.place(place.join(","), walking && crossed !== "");
    walking = true;
  });

  /** Places the frame and the cross in the image. */
  function mark() {
    const filled = stage.classList.contains("filled"); // before, there is nothing to mark
    frame.hidden = !filled || !framed || framed.length !== 2;
    if (framed && !frame.hidden) {
      const [[top, bottom], [left, right]] = framed;
      Object.assign(frame.style, {
        top: `${(100 * top) / size[0]}%`, height: `${(100 * (bottom - top)) / size[0]}%`,
        left: `${(100 * left) / size[1]}%`, width: `${(100 * (right - left)) / size[1]}%`,
      });
    }
    const [down, right] = crossed.split(",").map(Number);
    cross.hidden = !filled || !crossed;
    Object.assign(cross.style, { top: `${(100 * (down + 0.5)) / size[0]}%`, left: `${(100 * (right + 0.5)) / size[1]}%` });
  }

  return {
    /** @param {any} found what is said of an image */
    show(found) {
      flat = found.size.length === 2;
      size = [1, ...found.size].slice(-2); // of a volume, a slice is shown
      picture(image, found.picture, found.name, found.size);
      stage.classList.add("filled");
      mark(); // the unit may be known before its image
    },

    /** @param {number[][] | null} box first pixel and one past the last, down and right; of a signal only these */
    frameAt(box) {
      framed = box && box.length === 1 ? [[0, 1], ...box] : box;
      mark();
    },

    /** @param {string} place */
    crossAt(place) {
      crossed = place;
      mark();
    },

    /**
     * Lays a map over the image.
     * @param {import("./pictures.js").Drawable | null} sprite
     * @param {number} cell
     */
    overlay(sprite, cell) {
      over.hidden = !sprite;
      if (sprite) drawCell(over, sprite, cell);
    },
  };
}
return { stageIn };
})();

// shared/unit_figures.js
const $shared_unit_figures = (() => {
// One unit in pictures: what it saw, and its projections in the styles.

const { by, count, h, number, pairs } = $shared_elements;
const { picture } = $shared_pictures;
const { Refused, Superseded } = $shared_refusals;

/**
 * Facts of a unit and its pictures.
 * @param {string[]} styles
 */
function unitFigures(styles) {
  const figure = (/** @type {string} */ name, /** @type {string} */ words, /** @type {string | false} */ style) =>
    h("figure", { class: "seen", "data-style": style, "data-name": name },
      h("figcaption", null, words), h("img", { alt: "" }), h("p", { class: "said muted small" }));
  const patch = figure("patch", "what it saw", false);
  const projections = styles.map((style) => figure(style, style, style));
  const facts = h("div");
  const figures = h("div", { class: "figures" }, patch, ...projections);
  const image = (/** @type {HTMLElement} */ one) => /** @type {HTMLImageElement} */ (one.querySelector("img"));
  const said = (/** @type {HTMLElement} */ one, /** @type {string} */ words) => { /** @type {HTMLElement} */ (one.querySelector(".said")).textContent = words; };

  return {
    facts,
    figures,
    projections,

    /**
     * @param {any} found the answer of one style
     * @param {boolean} random whether the weights are random
     */
    showUnit(found, random) {
      const place = found.position.length === 2 ? `row ${found.position.join(", column ")}` : found.position.join(", ") || "the whole input";
      /** @type {[string, string][]} */
      const rows = [["activation", number(found.value)], ["rank at this place", `${count(found.rank)} of ${count(found.channels)}`], ["position", place]];
      if (found.classes && found.classes !== String(found.channel)) rows.unshift(["class", found.classes]);
      facts.replaceChildren(pairs(rows, "numbers"));
      if (found.linearised.length) facts.append(h("p", { class: "muted small" }, `Linearised: ${found.linearised.join(", ")}.`));
      if (random) facts.prepend(h("p", { class: "banner" }, "Random weights: this is what an untrained network shows."));
      picture(image(patch), found.patch, `The patch that ${found.layer} channel ${found.channel} saw`, found.pixels);
      said(patch, `${by(found.pixels)} pixels`);
    },

    /** @param {string} style @param {any} found */
    showProjection(style, found) {
      const one = projections[styles.indexOf(style)];
      picture(image(one), found.projection, `Its projection, ${style}`, found.pixels);
      said(one, found.blank ? "blank: nothing reaches the image" : "");
    },

    /**
     * The projection stays, and words say of what it is.
     * @param {string} style @param {string} words
     */
    keep(style, words) {
      const one = projections[styles.indexOf(style)];
      if (image(one).src) said(one, words);
    },

    /** @param {string} style @param {unknown} error */
    refuse(style, error) {
      if (!(error instanceof Superseded)) said(projections[styles.indexOf(style)], error instanceof Refused ? error.message : String(error));
    },
  };
}
return { unitFigures };
})();

// widget/kernel.js
const $widget_kernel = (() => {
// Questions to the notebook's kernel. One of a lane is on its way at a time; of those that wait, the newest is kept.

const { Refused, Superseded } = $shared_refusals;

/**
 * What a notebook gives to a widget.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(content: any) => void} send
 * @property {(event: string, heard: (...args: any[]) => void) => void} on
 * @property {(event: string, heard: (...args: any[]) => void) => void} off
 */

/** @typedef {{ name: string, fields: Record<string, any>, resolve: (answer: any) => void, reject: (error: Error) => void }} Asked */

const SLOW = 4000; // milliseconds until it is said that the kernel does not answer

/**
 * @param {Model} model
 * @param {(waits: boolean) => void} told hears whether the kernel has not answered for some time
 */
function kernelOf(model, told) {
  const view = Math.random().toString(36).slice(2, 10); // a widget may be shown several times
  /** @type {Map<string, Asked>} */
  const running = new Map();
  /** @type {Map<string, Asked>} */
  const waiting = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  const clocks = new Map();

  /** @param {string} lane @param {Asked} asked */
  function sendOff(lane, asked) {
    running.set(lane, asked);
    clocks.set(lane, setTimeout(() => told(true), SLOW));
    try {
      model.send({ view, lane, name: asked.name, fields: asked.fields });
    } catch { // as where the kernel was started anew, and knows nothing of the widget
      running.delete(lane);
      clearTimeout(clocks.get(lane));
      told(true);
      asked.reject(new Superseded());
    }
  }

  /** @param {any} said */
  function heard(said) {
    const asked = said && said.view === view ? running.get(said.lane) : undefined;
    if (!asked) return;
    running.delete(said.lane);
    clearTimeout(clocks.get(said.lane));
    told(false);
    const next = waiting.get(said.lane);
    if (next) {
      waiting.delete(said.lane);
      asked.reject(new Superseded());
      sendOff(said.lane, next);
    } else if ("error" in said) asked.reject(new Refused(said.error));
    else asked.resolve(said.answer);
  }
  model.on("msg:custom", heard);

  return {
    /**
     * @param {string} name
     * @param {Record<string, any>} fields
     * @param {string} [lane]
     * @returns {Promise<any>}
     */
    ask: (name, fields, lane = name) => new Promise((resolve, reject) => {
      const asked = { name, fields, resolve, reject };
      if (!running.has(lane)) {
        sendOff(lane, asked);
        return;
      }
      const older = waiting.get(lane);
      if (older) older.reject(new Superseded());
      waiting.set(lane, asked);
    }),

    /**
     * Nobody waits for the answers of a lane any more. What is on its way still ends it before anything else is asked.
     * @param {string} lane
     */
    cancel(lane) {
      for (const asked of [running.get(lane), waiting.get(lane)]) if (asked) asked.reject(new Superseded());
      waiting.delete(lane);
    },

    end() {
      model.off("msg:custom", heard);
      for (const clock of clocks.values()) clearTimeout(clock);
    },
  };
}
return { kernelOf };
})();

// widget/main.js
const $widget_main = (() => {
// The explorer's panels in a notebook: the image, the layers, the maps of one, a unit.

const { breakable, h } = $shared_elements;
const { classesIn, described, firingAt, layersIn } = $shared_layer_list;
const { gridIn } = $shared_map_grid;
const { Refused, Superseded } = $shared_refusals;
const { stageIn } = $shared_stage;
const { unitFigures } = $shared_unit_figures;
const { kernelOf } = $widget_kernel;

const BUSY = "The notebook’s kernel does not answer. It is busy, not running, or was started anew; then run the cell again.";
const TRAITS = ["image", "layer", "channel", "position", "random"];

/**
 * @param {{ model: import("./kernel.js").Model, el: HTMLElement }} given
 * @returns {() => void} what ends it
 */
function render({ model, el }) {
  const about = model.get("_about");
  const first = model.get("_first");
  const notice = h("p", { class: "notice wrong", role: "alert", hidden: true });
  const kernel = kernelOf(model, (waits) => {
    if (waits) say(BUSY);
    else if (notice.textContent === BUSY) say(""); // an answer takes back this alone, no refusal
  });
  const view = () => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));

  // The parts

  const stageBox = h("div", { class: "stage" });
  const imageName = h("p", { class: "muted small" });
  const classes = h("ul", { class: "classes", "aria-label": "Strongest classes" });
  const layerBox = h("ol", { class: "layers", "aria-label": "Layers, from the input to the output" });
  const place = h("div", { class: "at", hidden: true });
  const layerName = h("h3");
  const layerFacts = h("p", { class: "muted small" });
  const mapBox = h("ul", { class: "maps", "aria-label": "Feature maps of the layer" });
  const more = h("button", { type: "button", hidden: true });
  const unitName = h("h3");
  const figures = unitFigures(about.styles);
  const unitHint = h("p", { class: "muted small", hidden: true }, "Choose one of the layer’s feature maps, or a place in the image.");
  const random = h("input", { type: "checkbox" });
  const sort = h("select", { "aria-label": "Order of the maps" },
    h("option", { value: "strength" }, "strength"), h("option", { value: "number" }, "number"), h("option", { value: "selective" }, "selectivity"));
  const stepTo = (/** @type {number} */ step, /** @type {string} */ words, /** @type {string} */ label) => {
    const button = h("button", { type: "button", "aria-label": label }, words);
    button.addEventListener("click", () => go({ image: Math.max(0, Math.min(about.count - 1, model.get("image") + step)) }));
    return button;
  };
  const steps = about.count > 1
    ? h("div", { class: "row" }, stepTo(-1, "←", "Previous image"), stepTo(1, "→", "Next image"), h("span", { class: "muted small" }, `images 0 to ${about.count - 1}`))
    : null;

  const stage = stageIn(stageBox, { place: (at) => showPlace(at) });
  const layers = layersIn(layerBox, (layer) => go({ layer, channel: null, position: "" }));
  const maps = gridIn(mapBox, more, { choose: (channel) => go({ layer: shownLayer, channel, position: "" }), over: stage.overlay });
  const unitParts = h("div", null, figures.facts, figures.figures, h("label", { class: "check" }, random, "random weights"));

  const root = h("div", { class: "deconvviz" }, notice, h("div", { class: "widget" },
    h("section", { class: "panel", "aria-label": "Input" }, stageBox, imageName, classes, steps),
    h("section", { class: "panel", "aria-label": "Network" }, layerBox, place,
      h("div", { class: "row" }, layerName, h("label", { class: "check muted small" }, "sorted by ", sort)), layerFacts, h("div", { class: "scroll" }, mapBox, more)),
    h("section", { class: "panel", "aria-label": "Unit" }, unitName, unitHint, unitParts)));
  el.replaceChildren(root);
  root.dataset.theme = isDark(el) ? "dark" : "light";

  /** @param {string} words */
  function say(words) {
    notice.textContent = words;
    notice.hidden = !words;
  }

  /**
   * Changes what is shown, here and in Python.
   * @param {Record<string, any>} changes
   */
  function go(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  }

  /**
   * An answer that came with the widget, or that of the kernel.
   * @param {string} name
   * @param {Record<string, any>} fields
   * @param {string} [lane]
   */
  async function ask(name, fields, lane = name) {
    const known = first[[name, ...Object.values(fields)].join(" ")];
    if (known === undefined) return kernel.ask(name, fields, lane);
    kernel.cancel(lane); // an older question's answer would take its place
    return known;
  }

  let asked = { image: "", maps: "", unit: "" };
  let shownLayer = ""; // that whose maps are shown: another's may be on their way
  /** @type {any} */
  let shownMaps = null;

  /** Says of the layer whose maps are shown what is known of both. */
  function describe() {
    const row = shownMaps && layers.layerOf(shownLayer);
    layerFacts.textContent = row ? described(row, shownMaps) : "";
  }

  async function show() {
    const { image, layer, channel, position, random: isRandom } = view();
    const seen = { image: `data-${image}` };
    /** @type {Promise<void>[]} */
    const all = [];
    const changed = (/** @type {"image" | "maps" | "unit"} */ kind, /** @type {any[]} */ what) => {
      const key = JSON.stringify(what);
      const before = asked[kind];
      asked = { ...asked, [kind]: key };
      return before !== key;
    };
    random.checked = isRandom;
    layers.mark(layer);
    if (changed("image", [image])) {
      showPlace("");
      all.push(showImage(seen));
    }
    if (changed("maps", [image, layer])) all.push(showMaps(seen, layer));
    else maps.choose(channel);
    if (channel === null) leaveUnit();
    else if (changed("unit", [image, layer, channel, position, isRandom])) all.push(showUnit({ ...seen, layer, channel, position, random: isRandom ? 1 : 0 }));
    const failed = (await Promise.allSettled(all)).flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    const refused = failed.find((error) => !(error instanceof Superseded)); // also beside what is superseded
    if (refused) {
      asked = { image: "", maps: "", unit: "" }; // asked for again the next time
      say(refused instanceof Refused ? refused.message : String(refused));
    } else if (!failed.length && notice.textContent !== BUSY) say("");
  }

  /** @param {{ image: string }} seen */
  async function showImage(seen) {
    const found = await ask("image", seen);
    stage.show(found);
    imageName.textContent = found.name;
    classes.replaceChildren(...classesIn(found.classes, (to, channel, position) => go({ layer: to, channel, position })));
    layers.show(found.layers, model.get("layer"));
    describe();
  }

  /** @param {{ image: string }} seen @param {string} layer */
  async function showMaps(seen, layer) {
    const found = await ask("maps", { ...seen, layer });
    if (!(await maps.show(layer, found, sort.value, model.get("channel")))) return;
    [shownLayer, shownMaps] = [layer, found];
    layerName.replaceChildren(...breakable(layer || "the whole model"));
    describe();
  }

  /** No unit is chosen. */
  function leaveUnit() {
    asked = { ...asked, unit: "" };
    for (const lane of ["unit", ...about.styles.map((/** @type {string} */ style) => `unit ${style}`)]) kernel.cancel(lane);
    stage.frameAt(null);
    unitName.textContent = "Unit";
    unitParts.hidden = true;
    unitHint.hidden = false;
  }

  /** @param {Record<string, any>} fields */
  async function showUnit(fields) {
    const [style, ...others] = about.styles;
    const named = [...breakable(fields.layer || "the whole model"), ` channel ${fields.channel}`];
    /** @type {any} */
    let found;
    try {
      found = await ask("unit", { ...fields, style }, "unit");
    } catch (error) {
      if (!(error instanceof Superseded)) {
        leaveUnit(); // what is shown is no longer what is chosen
        unitName.replaceChildren(...named);
      }
      throw error;
    }
    unitName.replaceChildren(...named);
    unitHint.hidden = true;
    unitParts.hidden = false;
    stage.frameAt(found.box);
    figures.showUnit(found, Boolean(fields.random));
    figures.showProjection(style, found);
    for (const other of others) {
      ask("unit", { ...fields, style: other }, `unit ${other}`).then((answer) => figures.showProjection(other, answer), (error) => figures.refuse(other, error));
    }
  }

  /** @param {string} at "" for none */
  async function showPlace(at) {
    stage.crossAt(at);
    kernel.cancel("place");
    if (!at) place.hidden = true;
    if (!at) return;
    try {
      const found = await kernel.ask("place", { image: `data-${model.get("image")}`, at });
      place.replaceChildren(...firingAt(at, found.layers, (layer, channel, position) => go({ layer, channel, position }), () => showPlace("")));
      place.hidden = false;
    } catch (error) {
      if (error instanceof Superseded) return;
      showPlace("");
      say(error instanceof Refused ? error.message : String(error));
    }
  }

  sort.addEventListener("change", () => maps.sortBy(sort.value));
  random.addEventListener("change", () => go({ random: random.checked }));
  for (const kind of ["keydown", "keyup", "keypress"]) root.addEventListener(kind, (event) => event.stopPropagation()); // the notebook has keys of its own
  for (const name of TRAITS) model.on(`change:${name}`, later);
  let comes = false;

  /** Several traits change together. */
  function later() {
    if (comes) return;
    comes = true;
    queueMicrotask(() => {
      comes = false;
      show();
    });
  }

  show();
  return () => {
    kernel.end();
    for (const name of TRAITS) model.off(`change:${name}`, later);
  };
}

/**
 * Whether what surrounds an element is dark: its text is light then.
 * @param {HTMLElement} element
 */
function isDark(element) {
  const [red = 0, green = 0, blue = 0] = (getComputedStyle(element).color.match(/[\d.]+/g) || []).map(Number);
  return 0.3 * red + 0.6 * green + 0.1 * blue > 140;
}

const widget = { render };
return { widget };
})();

export default $widget_main.widget;
