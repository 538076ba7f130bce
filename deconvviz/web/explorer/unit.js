// One unit: what it saw, its projections in the styles, and what is known of it.

import { breakable, byId, h } from "../shared/elements.js";
import { picture } from "../shared/pictures.js";
import { Superseded } from "../shared/refusals.js";
import { unitFigures } from "../shared/unit_figures.js";
import * as known from "./known.js";
import { ask, cancel } from "./server.js";

const SCALES = "Each projection on its own scale: grey or white is zero; brighter and darker, or red and blue, are above and below.";

/** @type {string[]} */
let styles = [];
/** @type {{ place: known.Place, pin: () => void, python: () => void, save: (kind: string) => void, options: (changes: object) => void, unit: (layer: string, channel: number) => void }} */
let heard;
let shownKey = "";
let turn = 0;
let isPinned = false;
/** @type {ReturnType<typeof unitFigures>} */
let pictures;

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

/** @param {boolean} pinned whether the unit is */
export function markPinned(pinned) {
  isPinned = pinned;
  const button = byId("pin");
  if (!button) return;
  button.textContent = pinned ? "Unpin" : "Pin";
  button.setAttribute("aria-pressed", String(pinned));
}

/** What is shown, or is on its way, makes room for something else than a unit. */
function leave() {
  shownKey = "";
  turn += 1;
  known.stop();
  cancelAll();
  cancel("python");
}

/** Nobody waits for the pictures of what was chosen before. */
function cancelAll() {
  for (const lane of ["unit", "reconstruction", ...styles.map((style) => `unit ${style}`)]) cancel(lane);
}

/** Shows nothing. */
export function clear() {
  leave();
  byId("unit-title").textContent = "Unit";
  fill(h("p", { class: "muted" }, "Choose a layer and one of its feature maps, or a place in the image."));
}

/**
 * Shows the unit of a view, in place of the one before once there is something to see; returns its first projection's
 * answer.
 * @param {any} view
 * @param {boolean} live whether a camera runs, so that only the first style is asked for
 * @param {Promise<any> | null} before after which it is asked for
 */
export async function show(view, live, before) {
  const key = JSON.stringify([view.layer, view.channel, view.seed, view.random]);
  const own = ++turn;
  if (key !== shownKey) known.stop();
  const [first, ...others] = styles;
  cancelAll();
  if (!live) cancel("python"); // lines of another unit, or of another image than the next frame
  markOptions(view);
  await before;
  if (own !== turn) throw new Superseded();
  /** @type {any} */
  let found;
  try {
    found = await ask("unit", fieldsOf(view, { style: first }), "unit");
  } catch (error) {
    if (own === turn && !(error instanceof Superseded)) build(view, key); // what is shown is no longer what is chosen
    throw error;
  }
  if (own !== turn) throw new Superseded();
  if (key !== shownKey) build(view, key);
  pictures.showUnit(found, view.random);
  pictures.showProjection(first, found);
  if (live) {
    known.live(found);
    for (const style of others) pictures.keep(style, "of the image before the camera");
  } else {
    painted().then(() => {
      if (own !== turn) return;
      known.show(view, fieldsOf(view), found, { unit: heard.unit, place: heard.place });
      for (const style of others) {
        later(style, ask("unit", fieldsOf(view, { style }), `unit ${style}`));
      }
    });
  }
  pictures.projections.forEach((figure, at) => figure.classList.toggle("old", live && at > 0));
  return found;
}

/**
 * Shows the image reconstructed from all activations of a layer.
 * @param {{ image: string, shift: string, layer: string }} asks
 */
export async function showWhole(asks) {
  leave();
  const own = turn;
  const found = await ask("reconstruction", asks);
  if (own !== turn) throw new Superseded();
  byId("unit-title").textContent = `${asks.layer}, all activations at once`;
  fill(
    h("figure", { class: "seen whole" }, picture(h("img"), found.picture, `The image reconstructed from ${asks.layer}`, found.pixels), h("figcaption", null, found.style)),
    h("p", { class: "muted small" }, "The way back is not linear: this is not the sum of the units’ projections."),
    h("div", { class: "row" }, button("Copy as Python", heard.python)));
}

/** Resolves when what has changed is on the screen. */
export const painted = () => new Promise((resolve) => { requestAnimationFrame(() => { setTimeout(resolve); }); });

/** @param {string} style @param {Promise<any>} answer */
async function later(style, answer) {
  const own = pictures;
  try {
    own.showProjection(style, await answer);
  } catch (error) {
    own.refuse(style, error);
  }
}

/** Fills the panel; the keyboard stays where it was, or goes to the title. @param {HTMLElement[]} parts */
function fill(...parts) {
  const part = byId("unit");
  const active = part.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).id : null;
  part.replaceChildren(...parts);
  if (active !== null) (byId(active) || byId("unit-title")).focus({ preventScroll: true });
}

/** @param {string} words @param {() => void} action @param {object} attributes */
function button(words, action, attributes = {}) {
  const one = h("button", { type: "button", ...attributes }, words);
  one.addEventListener("click", action);
  return one;
}

/** @param {any} view what its boxes say, also where they were not what changed it */
function markOptions(view) {
  if (!shownKey) return;
  byId("random").checked = view.random;
  byId("seed").checked = view.seed === "one";
}

/** @param {any} view @param {string} key what stays the same while it is shown */
function build(view, key) {
  shownKey = key;
  byId("unit-title").replaceChildren(...breakable(view.layer || "the whole model"), ` channel ${view.channel}`);
  pictures = unitFigures(styles);
  pictures.facts.id = "facts";
  const random = h("input", { type: "checkbox", id: "random" });
  random.addEventListener("change", () => heard.options({ random: random.checked }));
  const seed = h("input", { type: "checkbox", id: "seed" });
  seed.addEventListener("change", () => heard.options({ seed: seed.checked ? "one" : "" }));
  fill(
    pictures.facts,
    pictures.figures,
    h("p", { class: "muted small" }, SCALES),
    h("div", { class: "row" },
      h("span", { class: "check" }, random, h("label", { for: "random" }, "random weights")),
      h("span", { class: "check" }, seed, h("label", { for: "seed" }, "seed 1 in place of the activation"))),
    h("div", { class: "row" }, button("Pin", heard.pin, { id: "pin" }), button("Copy as Python", heard.python),
      button("Save the picture", () => heard.save("picture")), button("Save the result", () => heard.save("result"))),
    ...known.parts(),
  );
  markOptions(view);
  markPinned(isPinned);
}
