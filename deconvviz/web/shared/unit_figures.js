// One unit in pictures: what it saw, and its projections in the styles.

import { by, count, h, number, pairs } from "./elements.js";
import { picture } from "./pictures.js";
import { Refused, Superseded } from "./refusals.js";

/**
 * Facts of a unit and its pictures.
 * @param {string[]} styles
 */
export function unitFigures(styles) {
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
