// Pictures: sprites with many small ones, of which an element shows one, and single ones.

/**
 * @typedef {object} Sprite
 * @property {string} url
 * @property {[number, number]} cell height and width
 * @property {number} columns
 * @property {number} rows
 */

/**
 * The picture of a data address as a short address, which many elements can use.
 * @param {string} data
 */
export function blobOf(data) {
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
}

/** @param {number} part */
const percentage = (part) => `${Number((100 * part).toFixed(4))}%`;

/**
 * Shows one cell of a sprite as an element's background.
 * @param {HTMLElement} element
 * @param {Sprite} sprite its `url` is one of `blobOf`
 * @param {number} cell
 */
export function paint(element, sprite, cell) {
  const { columns, rows } = sprite;
  const [x, y] = [cell % columns, Math.floor(cell / columns)];
  element.style.backgroundImage = `url("${sprite.url}")`;
  element.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
  element.style.backgroundPosition = `${percentage(columns > 1 ? x / (columns - 1) : 0)} ${percentage(rows > 1 ? y / (rows - 1) : 0)}`;
  element.style.aspectRatio = `${sprite.cell[1]} / ${sprite.cell[0]}`;
}

/**
 * A single picture; small ones are enlarged with sharp pixels.
 * @param {HTMLImageElement} element
 * @param {string} url
 * @param {string} alt
 * @param {number} width pixels of the picture
 */
export function picture(element, url, alt, width) {
  element.src = url;
  element.alt = alt;
  element.classList.toggle("sharp", width <= 96);
  element.draggable = false;
  return element;
}
