// The layers from input to output, the search for one, and the units that fire at a place.

import { breakable, by, byId, h, number, percent } from "../shared/elements.js";

/** @type {any[]} */
let known = [];
/** @type {(layer: string, channel: number | null, position: string) => void} */
let chosen = () => {};

/** @param {typeof chosen} choose */
export function attach(choose) {
  chosen = choose;
  const input = byId("search");
  const list = byId("found");
  let active = -1;
  const options = () => [...list.children];
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (/** @type {number} */ at) => {
    active = at;
    options().forEach((one, place) => one.setAttribute("aria-selected", String(place === at)));
    if (at >= 0) input.setAttribute("aria-activedescendant", `found-${at}`);
  };
  const choose1 = (/** @type {{ layer: string, channel: number | null }} */ one) => {
    close();
    input.value = "";
    input.blur();
    chosen(one.layer, one.channel, "");
  };
  input.addEventListener("input", () => {
    const found = search(input.value);
    list.replaceChildren(...found.map((one, place) => {
      const item = h("li", { id: `found-${place}`, role: "option", "aria-selected": "false" },
        one.layer, one.channel === null ? "" : ` channel ${one.channel}`);
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        choose1(one);
      });
      return item;
    }));
    list.hidden = !input.value.trim();
    if (!found.length) list.replaceChildren(h("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, "No such layer or channel"));
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(found.length ? 0 : -1);
  });
  input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const found = search(input.value);
    if (event.key === "Escape") {
      close();
      input.value = "";
      input.blur();
    } else if (event.key === "Enter" && found[active]) choose1(found[active]);
    else if (event.key === "ArrowDown" && found.length) mark((active + 1) % found.length);
    else if (event.key === "ArrowUp" && found.length) mark((active + found.length - 1) % found.length);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  input.addEventListener("blur", close);
}

/**
 * Layers whose name has all words, with the channel if the last word is a number.
 * @param {string} text
 */
function search(text) {
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const named = (/** @type {string[]} */ parts) => known.filter((one) => one.channels && parts.every((part) => one.name.toLowerCase().includes(part)));
  const last = words[words.length - 1];
  const withChannel = words.length > 1 && /^\d+$/.test(last)
    ? named(words.slice(0, -1)).filter((one) => Number(last) < one.channels).map((one) => ({ layer: one.name, channel: Number(last) }))
    : [];
  const whole = named(words).map((one) => ({ layer: one.name, channel: /** @type {number | null} */ (null) }));
  const sorted = [...withChannel, ...whole].sort((a, b) => a.layer.length - b.layer.length);
  return sorted.slice(0, 8);
}

/**
 * @param {any[]} layers
 * @param {string} layer the chosen one
 */
export function show(layers, layer) {
  const list = byId("layers");
  if (layers.length === known.length && list.children.length && layers.every((one, at) => one.name === known[at].name)) {
    known = layers;
    [...list.children].forEach((item, at) => { /** @type {any} */ (item).querySelector("i").style.width = `${100 * layers[at].active}%`; });
  } else {
    known = layers;
    list.replaceChildren(...layers.map(row));
  }
  mark(layer);
}

/** @param {any} one */
function row(one) {
  const bar = h("i");
  bar.style.width = `${100 * one.active}%`;
  const field = one.field ? `sees ${by(one.field)}` : "sees the whole input";
  const button = h("button", { type: "button", disabled: !one.channels, title: `${percent(one.active)} of its values are above zero` },
    h("span", { class: "layer-name" }, ...breakable(one.name || "the whole model")),
    h("span", { class: "muted small" }, `${one.kind} · ${by(one.shape)} · ${field}`),
    h("span", { class: "rate", "aria-hidden": "true" }, bar));
  button.addEventListener("click", () => chosen(one.name, null, ""));
  return h("li", { "data-layer": one.name }, button);
}

/** @param {string} layer */
export function mark(layer) {
  for (const item of byId("layers").children) {
    const own = item.dataset.layer === layer;
    item.firstElementChild.toggleAttribute("aria-current", own);
    if (own && !item.classList.contains("own")) {
      const list = byId("layers"); // alone: scrolling into view would move the panel, too
      const top = item.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
        list.scrollTop = top - list.clientHeight / 2 + item.offsetHeight / 2;
      }
    }
    item.classList.toggle("own", own);
  }
}

/** @param {string} name */
export const layerOf = (name) => known.find((one) => one.name === name);

/**
 * The layer so many further on.
 * @param {string} name
 * @param {number} step
 */
export function beside(name, step) {
  const usable = known.filter((one) => one.channels);
  const at = usable.findIndex((one) => one.name === name);
  return usable[at + step] ? usable[at + step].name : "";
}

/**
 * The first layer worth looking at: the first convolution.
 * @returns {string}
 */
export function firstLayer() {
  const one = known.find((layer) => layer.kind.startsWith("Conv")) || known.find((layer) => layer.channels);
  return one ? one.name : "";
}

/**
 * Lists the units that fire at a place of the image.
 * @param {string} at
 * @param {any[]} layers
 * @param {() => void} close
 */
export function showPlace(at, layers, close) {
  const part = byId("at");
  part.hidden = !at;
  if (!at) return;
  const button = h("button", { type: "button" }, "Close");
  button.addEventListener("click", close);
  const [down, right] = at.split(",");
  part.replaceChildren(
    h("div", { class: "row" }, h("h3", { tabindex: "-1" }, `Firing at row ${down}, column ${right}`), button),
    h("ul", { class: "places" }, ...layers.map((one) => h("li", null,
      h("span", { class: "layer-name" }, ...breakable(one.layer)),
      one.units.length
        ? h("span", { class: "row" }, ...one.units.map((/** @type {any} */ unit) => {
          const open = h("button", { type: "button", class: "chip", title: `${number(unit.value)}, ${percent(unit.share)} of the channel’s strongest in this image`, "aria-label": `${one.layer} channel ${unit.channel}, ${number(unit.value)}` },
            h("b", null, String(unit.channel)), ` ${number(unit.value)}`);
          open.addEventListener("click", () => chosen(one.layer, unit.channel, one.position.join(",")));
          return open;
        }))
        : h("span", { class: "muted small" }, "none fires")))),
  );
}
