// What is known of a channel: its values over the data set, its strongest units, its inputs, and whether to believe it.

import { breakable, byId, count, h, number, percent, plural, s } from "../shared/elements.js";
import { picture } from "../shared/pictures.js";
import { Refused, Superseded } from "../shared/refusals.js";
import { ask, cancel, watch } from "./server.js";

const SCAN_AGAIN = 1500; // milliseconds until the values are asked for again while the data set is scanned
/** @typedef {(image: string, unit: { layer: string, channel: number, position: string }) => void} Place a unit in an image */
let turn = 0;
/** The values over the data set that are shown. @type {any} */
let drawn = null;

/**
 * The parts of the panel, in the order in which they are shown.
 * @returns {HTMLElement[]}
 */
export const parts = () => [
  h("div", { id: "badges", "aria-live": "polite" }),
  h("div", { id: "values" }),
  h("div", { id: "strongest" }),
  h("div", { id: "inputs" }),
];

/**
 * While a camera runs, what takes long is not asked for, and what was known of the image before it is not shown.
 * @param {any} found the unit
 */
export function live(found) {
  stop();
  byId("badges").replaceChildren(h("p", { class: "muted small" }, "Whether to believe it is measured when the camera stops."));
  byId("inputs").replaceChildren();
  byId("values").replaceChildren(...(byId("values").querySelector("svg") ? valuesIn(drawn, found.value) : []));
  if (!byId("strongest").querySelector("img")) byId("strongest").replaceChildren();
}

/** Nobody waits for these any more. */
export function stop() {
  turn += 1;
  for (const lane of ["known", "strongest", "evidence"]) cancel(lane);
}

/**
 * Shows what is known of the unit of a view.
 * @param {any} view
 * @param {any} fields of a question about the unit
 * @param {any} found the unit
 * @param {{ unit: (layer: string, channel: number) => void, place: Place }} heard
 */
export async function show(view, fields, found, heard) {
  const own = ++turn;
  const quietly = async (/** @type {Promise<any>} */ work, /** @type {string} */ part) => {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof Superseded) && own === turn && byId(part)) {
        byId(part).replaceChildren(h("p", { class: "muted small" }, error instanceof Refused ? error.message : String(error)));
      }
    }
  };
  await Promise.all([
    quietly(showValues(own, fields, found, heard), "values"),
    quietly(showBadges(own, fields), "badges"),
  ]);
}

/** @param {number} own @param {any} fields @param {any} found @param {any} heard */
async function showValues(own, fields, found, heard) {
  const known = await ask("known", { image: fields.image, shift: fields.shift, layer: fields.layer, channel: fields.channel });
  if (own !== turn) return;
  showInputs(known.inputs, heard.unit);
  if ("scanning" in known) {
    byId("values").replaceChildren(h("p", { class: "muted small" }, `The data set is being scanned: ${percent(known.scanning)}.`));
    setTimeout(() => { if (own === turn) showValues(own, fields, found, heard).catch(() => {}); }, SCAN_AGAIN);
    return;
  }
  if (known.why) {
    byId("values").replaceChildren(h("p", { class: "muted small" }, known.why));
    return;
  }
  drawn = known;
  byId("values").replaceChildren(...valuesIn(known, found.value));
  const { layer, channel } = fields;
  const said = h("p", { class: "muted small" });
  const { units } = await watch("strongest", { layer, channel }, (share) => {
    said.textContent = `Projecting its strongest units: ${percent(share)}.`;
    if (own === turn && !byId("strongest").children.length) byId("strongest").append(said);
  });
  if (own === turn) showStrongest(units, (image, position) => heard.place(image, { layer, channel, position }));
}

/** @param {any} known @param {number} value */
const valuesIn = (known, value) => [
  h("h3", null, "Among the values over the data set"),
  histogram(known, value),
  h("p", { class: "muted small" }, `The strongest value in each of ${plural(known.images, "image")}: above zero in ${percent(known.fires)}, ${number(known.mean)} on average, ${number(known.maximum)} at most. The line is this unit.`),
];

/** @param {any} known @param {number} value */
function histogram(known, value) {
  const bars = known.bars.filter((/** @type {number[]} */ bar, /** @type {number} */ at) => bar[2] || (at && known.bars[at - 1][2]));
  const first = Math.max(0, known.bars.findIndex((/** @type {number[]} */ bar) => bar[2] > known.images / 200));
  const kept = known.bars.slice(first);
  const most = Math.max(...kept.map((/** @type {number[]} */ bar) => bar[2]), 1);
  const width = 100 / Math.max(1, kept.length);
  const at = kept.findIndex((/** @type {number[]} */ [low, high]) => value >= low && value < high);
  const place = at >= 0 ? (at + (value - kept[at][0]) / (kept[at][1] - kept[at][0])) * width : value < (kept[0] || [0])[0] ? 0 : 100;
  const words = `Histogram of ${count(known.images)} values from ${number(kept.length ? kept[0][0] : 0)} to ${number(known.maximum)}, in ${plural(bars.length, "bin")}; this unit has ${number(value)}`;
  return h("div", { class: "histogram" },
    s("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": words },
      ...kept.map((/** @type {number[]} */ bar, /** @type {number} */ number) => {
        const height = (39 * bar[2]) / most;
        return s("rect", { x: number * width + width * 0.06, y: 40 - height, width: width * 0.88, height });
      }),
      s("line", { x1: place, x2: place, y1: 0, y2: 40 })),
    h("div", { class: "axis muted small", "aria-hidden": "true" }, h("span", null, number(kept.length ? kept[0][0] : 0)), h("span", null, number(known.maximum))));
}

/** @param {any[]} units @param {(image: string, position: string) => void} open */
function showStrongest(units, open) {
  if (!units.length) {
    byId("strongest").replaceChildren();
    return;
  }
  const square = (/** @type {string} */ kind, /** @type {string} */ words) => h("figure", null,
    h("figcaption", { class: "muted small" }, words),
    h("div", { class: "nine" }, ...units.map((unit) => {
      const name = unit.label ? `${unit.name}, ${unit.label}` : unit.name;
      const button = h("button", { type: "button", class: "tile", title: `${name}: ${number(unit.value)}` },
        picture(h("img"), unit[kind], `${words}: ${name}`, unit.pixels));
      button.addEventListener("click", () => open(unit.image, unit.position.join(",")));
      return button;
    })));
  byId("strongest").replaceChildren(h("h3", null, "What fires it most in the data set"),
    h("div", { class: "pair" }, square("patch", "patches"), square("projection", "projections")));
}

/** @param {any[]} inputs @param {(layer: string, channel: number) => void} open */
function showInputs(inputs, open) {
  if (!inputs.length) {
    byId("inputs").replaceChildren();
    return;
  }
  byId("inputs").replaceChildren(h("h3", null, "What feeds it here"), h("div", { class: "row" }, ...inputs.map((one) => {
    const button = h("button", { type: "button", class: "chip", "aria-label": `${one.layer} channel ${one.channel}, ${one.added < 0 ? "takes" : "adds"} ${number(Math.abs(one.added))}` },
      ...breakable(one.layer), h("b", null, ` ${one.channel}`), ` ${one.added < 0 ? "" : "+"}${number(one.added)}`);
    button.addEventListener("click", () => open(one.layer, one.channel));
    return button;
  })));
}

/** @param {number} own @param {any} fields */
async function showBadges(own, fields) {
  if (fields.random) {
    byId("badges").replaceChildren();
    return;
  }
  const part = byId("badges");
  const stopIt = h("button", { type: "button", class: "chip" }, "Cancel");
  const said = h("span", { class: "muted small" }, "Measuring whether to believe it …");
  stopIt.addEventListener("click", () => {
    cancel("evidence");
    part.replaceChildren(h("p", { class: "muted small" }, "Not measured: cancelled."));
  });
  part.replaceChildren(h("div", { class: "row" }, said, stopIt));
  const { badges } = await watch("evidence", fields, (share) => { said.textContent = `Measuring whether to believe it: ${percent(share)}`; });
  if (own !== turn) return;
  const signs = { good: "✓", weak: "~", bad: "✗", none: "–" };
  part.replaceChildren(h("h3", null, "Can you trust it?"), h("ul", { class: "badges" }, ...badges.map((/** @type {[keyof typeof signs, string, string]} */ [kind, words, sentence]) =>
    h("li", null, h("details", null, h("summary", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, `${signs[kind]} `), words), h("p", { class: "small" }, sentence))))));
}
