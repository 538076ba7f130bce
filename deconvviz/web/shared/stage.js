// The image under the network: the frame of the unit, the map over it, clicks and drags.

import { h } from "./elements.js";
import { drawCell, picture } from "./pictures.js";

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
export function stageIn(stage, heard) {
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
