// The layers from input to output as a list.

import { breakable, by, h, number, percent, plural } from "./elements.js";

/**
 * Makes a list that of the layers.
 * @param {HTMLElement} list
 * @param {(layer: string) => void} choose a layer was chosen
 */
export function layersIn(list, choose) {
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
export function described(layer, maps) {
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
export const classesIn = (classes, choose) => classes.map((one) => {
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
export function firingAt(at, layers, choose, close) {
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
