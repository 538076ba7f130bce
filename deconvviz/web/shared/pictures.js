// Pictures. A sheet holds many small ones, of which an element shows one.

import { h, percentage } from "./elements.js";

/**
 * A picture in a sheet, in the sheet's pixels, height before width.
 * @typedef {object} Part
 * @property {string} file
 * @property {number[]} sheet height and width of the whole
 * @property {number[]} at its top left corner
 * @property {number[]} size
 */

/**
 * A sheet whose pictures are alike and without gaps.
 * @typedef {object} Sprite
 * @property {string} url
 * @property {[number, number]} cell height and width
 * @property {number} columns
 * @property {number} rows
 */

const WIDEST = 8; // times as wide as tall
const TALLEST = 3; // times as tall as wide

/**
 * The shape in which a picture is shown: one that is very long is squeezed, so that it can be seen and pressed.
 * @param {number} tall
 * @param {number} wide
 */
const shapeOf = (tall, wide) => String(Math.min(WIDEST, Math.max(1 / TALLEST, wide / tall)));

/** @typedef {Omit<Sprite, "url"> & { sheet: HTMLImageElement }} Drawable a sprite with its picture */

/**
 * What a data address holds.
 * @param {string} data
 */
export function fileOf(data) {
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

/**
 * The picture of a data address as a short address, which many elements can use.
 * @param {string} data
 */
export const blobOf = (data) => URL.createObjectURL(fileOf(data));

/**
 * The picture of a data address, once it can be drawn. It is there several times sooner than by a short address.
 * @param {string} data
 * @returns {Promise<HTMLImageElement>}
 */
export const loaded = (data) => new Promise((resolve) => {
  const one = new Image();
  one.onload = () => resolve(one);
  one.onerror = () => resolve(one);
  one.src = data;
});

/**
 * @param {Sprite} sprite
 * @param {number} cell
 * @returns {Part}
 */
function partOf({ url, cell: [tall, wide], columns, rows }, cell) {
  return { file: url, sheet: [rows * tall, columns * wide], at: [Math.floor(cell / columns) * tall, (cell % columns) * wide], size: [tall, wide] };
}

/**
 * Shows a part of a sheet as an element's background.
 * @param {HTMLElement} element
 * @param {Part} part
 */
export function paint(element, { file, sheet: [height, width], at: [y, x], size: [tall, wide] }) {
  const { style } = element;
  style.backgroundImage = `url("${file}")`;
  style.backgroundSize = `${percentage(width / wide)} ${percentage(height / tall)}`;
  style.backgroundPosition = `${percentage(width > wide ? x / (width - wide) : 0)} ${percentage(height > tall ? y / (height - tall) : 0)}`;
}

/**
 * Draws one cell of a sprite, pixel by pixel.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawable} sprite
 * @param {number} cell
 */
export function drawCell(canvas, { sheet, cell: [tall, wide], columns }, cell) {
  Object.assign(canvas, { width: wide, height: tall }); // which also clears it
  canvas.style.aspectRatio = shapeOf(tall, wide);
  const ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (sheet.naturalWidth) ink.drawImage(sheet, (cell % columns) * wide, Math.floor(cell / columns) * tall, wide, tall, 0, 0, wide, tall);
}

/**
 * Shows one cell of a sprite as an element's background, in the cell's shape.
 * @param {HTMLElement} element
 * @param {Sprite} sprite its `url` is one of `blobOf`
 * @param {number} cell
 */
export function paintCell(element, sprite, cell) {
  paint(element, partOf(sprite, cell));
  element.style.aspectRatio = `${sprite.cell[1]} / ${sprite.cell[0]}`;
}

/**
 * A part of a sheet as an image with a text in its place.
 * @param {Part} part
 * @param {string} alt
 * @param {boolean} sharp whether pixels stay squares when enlarged
 */
export function image({ file, sheet: [height, width], at: [y, x], size: [tall, wide] }, alt, sharp) {
  const shown = h("img", { src: file, alt, loading: "lazy", decoding: "async", draggable: "false" });
  Object.assign(shown.style, {
    width: percentage(width / wide), height: percentage(height / tall), left: percentage(-x / wide), top: percentage(-y / tall),
  });
  const frame = h("span", { class: sharp ? "tile sharp" : "tile" }, shown);
  frame.style.aspectRatio = `${wide} / ${tall}`;
  return frame;
}

/**
 * A single picture; small ones are enlarged with sharp pixels. A signal is one row of pixels, and becomes a band.
 * @param {HTMLImageElement} element
 * @param {string} url
 * @param {string} alt
 * @param {number[]} size of the picture in pixels, height before width
 */
export function picture(element, url, alt, size) {
  element.src = url;
  element.alt = alt;
  element.classList.toggle("sharp", size.length === 1 || (size[1] || 1) <= 96);
  element.classList.toggle("band", size.length === 1);
  const [tall, wide] = size.slice(-2); // of a volume, a slice is shown
  element.style.aspectRatio = wide ? shapeOf(tall, wide) : "";
  element.draggable = false;
  return element;
}
