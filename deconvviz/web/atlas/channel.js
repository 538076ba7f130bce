// One channel: its strongest patches and projections, their place in the full image, firing statistics and what feeds it.

import { breakable, count, h, number, pairs, percent, plural, s } from "../shared/elements.js";
import { image } from "../shared/pictures.js";
import { atlas } from "./data.js";
import * as evidence from "./evidence.js";
import * as grid from "./grid.js";
import * as lightbox from "./lightbox.js";
import { facts, link, mosaic, STATES } from "./parts.js";

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
export async function view(layer, channel) {
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
