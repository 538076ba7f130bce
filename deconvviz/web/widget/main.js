// The explorer's panels in a notebook: the image, the layers, the maps of one, a unit.

import { breakable, h } from "../shared/elements.js";
import { classesIn, described, firingAt, layersIn } from "../shared/layer_list.js";
import { gridIn } from "../shared/map_grid.js";
import { Refused, Superseded } from "../shared/refusals.js";
import { stageIn } from "../shared/stage.js";
import { unitFigures } from "../shared/unit_figures.js";
import { kernelOf } from "./kernel.js";

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

export const widget = { render };
