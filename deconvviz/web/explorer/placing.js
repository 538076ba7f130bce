// How the image lies under the network: moved, and larger or smaller.

import { byId } from "../shared/elements.js";

const SIZES = [50, 67, 80, 100, 125, 150, 200, 300, 400]; // percent of the image

/**
 * @typedef {object} Placing
 * @property {number} down pixels of the network's input
 * @property {number} right
 * @property {number} size percent
 */

/**
 * @param {string} text as in the address, "" where nothing is changed
 * @returns {Placing} of what is no placing, which the server refuses, that of nothing changed
 */
export function placingOf(text) {
  const numbers = text ? text.split(",").map(Number) : [];
  const [down = 0, right = 0, size = 100] = numbers.every(Number.isFinite) ? numbers : [];
  return { down, right, size };
}

/** @param {Placing} placing */
export function textOf({ down, right, size }) {
  if (size !== 100) return `${down},${right},${size}`;
  return down || right ? `${down},${right}` : "";
}

/**
 * The next larger or smaller size.
 * @param {number} size
 * @param {number} step 1 or -1
 */
const beside = (size, step) => (step > 0 ? SIZES.find((one) => one > size) : [...SIZES].reverse().find((one) => one < size));

/** @param {string} text */
export function show(text) {
  const { down, right, size } = placingOf(text);
  byId("shift").textContent = `${down}, ${right}`;
  byId("size").textContent = `${size} %`;
  byId("unmoved").hidden = !text;
  for (const button of document.querySelectorAll("[data-size]")) {
    /** @type {HTMLButtonElement} */ (button).disabled = beside(size, Number(/** @type {HTMLElement} */ (button).dataset.size)) === undefined;
  }
}

/** @param {number[]} size of the image: signals and volumes are not moved */
export function fit(size) {
  for (const button of document.querySelectorAll("[data-move], [data-size]")) {
    /** @type {HTMLElement} */ (button.closest("[role=group]")).hidden = size.length !== 2;
  }
}

/**
 * What a drag moves.
 * @param {() => string} now how it lies, as in the address
 * @param {(text: string, goesOn: boolean) => void} changed
 * @returns {import("../shared/stage.js").Moves}
 */
export const draggedBy = (now, changed) => ({
  from() {
    const { down, right } = placingOf(now());
    return [down, right];
  },
  to: (down, right, goesOn) => changed(textOf({ ...placingOf(now()), down, right }), goesOn),
});

/**
 * @param {() => string} now how it lies, as in the address
 * @param {(text: string) => void} changed
 */
export function attach(now, changed) {
  byId("unmoved").addEventListener("click", () => changed(""));
  for (const button of document.querySelectorAll("[data-move], [data-size]")) {
    button.addEventListener("click", () => {
      const { move, size: step } = /** @type {HTMLElement} */ (button).dataset;
      const { down, right, size } = placingOf(now());
      const [by, across] = (move || "0,0").split(",").map(Number);
      changed(textOf({ down: down + by, right: right + across, size: (step && beside(size, Number(step))) || size }));
    });
  }
}
