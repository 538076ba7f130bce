// One unit: what it saw, its projections in the styles, and what is known of it.

import { breakable, by, byId, h, number, pairs } from "../shared/elements.js";
import { picture } from "../shared/pictures.js";
import * as known from "./known.js";
import { ask, Refused, Superseded } from "./server.js";

/** @type {string[]} */
let styles = [];
/** @type {{ place: (image: string, position: string) => void, pin: () => void, python: () => void, save: (kind: string) => void, options: (changes: object) => void, unit: (layer: string, channel: number) => void }} */
let heard;
let shownKey = "";

/**
 * @param {string[]} known the styles
 * @param {typeof heard} what
 */
export function attach(known, what) {
  styles = known;
  heard = what;
}

/**
 * The fields of a question about a unit.
 * @param {any} view
 * @param {object} [more]
 */
export const fieldsOf = (view, more = {}) => ({
  image: view.image, shift: view.shift, layer: view.layer, channel: view.channel, position: view.position || null,
  seed: view.seed, random: view.random ? 1 : "", ...more,
});

/** Shows nothing. */
export function clear() {
  shownKey = "";
  known.stop();
  byId("unit-title").textContent = "Unit";
  byId("unit").replaceChildren(h("p", { class: "muted" }, "Choose a layer and one of its feature maps, or a place in the image."));
}

/**
 * Shows the unit of a view; returns its first projection's answer.
 * @param {any} view
 * @param {boolean} live whether a camera runs, so that only the first style is asked for
 */
export async function show(view, live) {
  const key = JSON.stringify([view.layer, view.channel, view.seed, view.random]);
  if (key !== shownKey) build(view);
  shownKey = key;
  const [first, ...others] = styles;
  const found = await ask("unit", fieldsOf(view, { style: first }), "unit");
  drawFacts(view, found);
  draw(first, found);
  if (live) known.stop();
  else {
    known.show(view, fieldsOf(view), found, { unit: heard.unit, place: heard.place });
    for (const style of others) {
      later(style, ask("unit", fieldsOf(view, { style }), `unit ${style}`));
    }
  }
  for (const figure of byId("unit").querySelectorAll("figure[data-style]")) {
    figure.classList.toggle("old", live && figure.dataset.style !== first);
  }
  return found;
}

/** @param {string} style @param {Promise<any>} answer */
async function later(style, answer) {
  try {
    draw(style, await answer);
  } catch (error) {
    if (error instanceof Superseded) return;
    const caption = byId("unit").querySelector(`figure[data-style="${CSS.escape(style)}"] .said`);
    if (caption) caption.textContent = error instanceof Refused ? error.message : String(error);
  }
}

/** @param {any} view */
function build(view) {
  byId("unit-title").replaceChildren(...breakable(view.layer || "the whole model"), ` channel ${view.channel}`);
  const figure = (/** @type {string} */ name, /** @type {string} */ words, /** @type {string} */ style) =>
    h("figure", { class: "seen", "data-style": style || false, "data-name": name },
      h("figcaption", null, words), h("img", { alt: "" }), h("p", { class: "said muted small" }));
  const button = (/** @type {string} */ words, /** @type {() => void} */ action, /** @type {object} */ attributes = {}) => {
    const one = h("button", { type: "button", ...attributes }, words);
    one.addEventListener("click", action);
    return one;
  };
  const random = h("input", { type: "checkbox", id: "random", checked: view.random });
  random.addEventListener("change", () => heard.options({ random: random.checked }));
  const seed = h("input", { type: "checkbox", id: "seed", checked: view.seed === "one" });
  seed.addEventListener("change", () => heard.options({ seed: seed.checked ? "one" : "" }));
  byId("unit").replaceChildren(
    h("div", { id: "facts" }),
    h("div", { class: "figures" }, figure("patch", "what it saw", ""),
      ...styles.map((style) => figure(style, style, style))),
    h("p", { class: "muted small", id: "key" }, ""),
    h("div", { class: "row" },
      h("span", { class: "check" }, random, h("label", { for: "random" }, "random weights")),
      h("span", { class: "check" }, seed, h("label", { for: "seed" }, "seed 1 in place of the activation"))),
    h("div", { class: "row" }, button("Pin", heard.pin, { id: "pin" }), button("Copy as Python", heard.python),
      button("Save the picture", () => heard.save("picture")), button("Save the result", () => heard.save("result"))),
    ...known.parts(),
  );
}

/** @param {any} view @param {any} found */
function drawFacts(view, found) {
  const at = found.position.length ? `row ${found.position.join(", column ")}` : "the whole input";
  /** @type {[string, any][]} */
  const facts = [["activation", number(found.value)], ["rank at this place", `${found.rank} of ${found.channels}`], ["position", found.position.length === 2 ? at : found.position.length ? found.position.join(", ") : at]];
  if (found.classes && found.classes !== String(view.channel)) facts.unshift(["class", found.classes]);
  byId("facts").replaceChildren(pairs(facts, "numbers"));
  if (found.linearised.length) byId("facts").append(h("p", { class: "muted small" }, `Linearised: ${found.linearised.join(", ")}.`));
  if (view.random) byId("facts").prepend(h("p", { class: "banner" }, "Random weights: this is what an untrained network shows."));
  const patch = byId("unit").querySelector('figure[data-name="patch"]');
  picture(patch.querySelector("img"), found.patch, `The patch that ${view.layer} channel ${view.channel} saw`, found.pixels[1] || 1);
  patch.querySelector(".said").textContent = `${by(found.pixels)} pixels`;
  byId("key").textContent = "Each projection on its own scale: grey or white is zero; brighter and darker, or red and blue, are above and below.";
}

/** @param {string} style @param {any} found */
function draw(style, found) {
  const figure = byId("unit").querySelector(`figure[data-style="${CSS.escape(style)}"]`);
  if (!figure) return;
  picture(figure.querySelector("img"), found.projection, `Its projection, ${style}`, found.pixels[1] || 1);
  figure.querySelector(".said").textContent = found.blank ? "blank: nothing reaches the image" : "";
}
