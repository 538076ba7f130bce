// One unit, large: its image, its patch, its projection, and the projection over the patch.

import { by, h, number } from "../shared/elements.js";
import { image } from "../shared/pictures.js";
import { atlas } from "./data.js";

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {import("../shared/pictures.js").Part} Part */
/** @typedef {{ layer: Layer, channel: number, units: any[], numbers: number[], beside?: number[] }} Shown */

/**
 * The full image with a box around the patch.
 * @param {number[]} numbers
 * @param {any[]} unit
 */
export function place(numbers, unit) {
  const [, number_, name, label, box] = unit;
  const [height, width] = atlas.index.input.slice(-2);
  const [top, left, bottom, right] = box;
  const words = `${label || name}, full image; the patch covers rows ${top} to ${bottom} and columns ${left} to ${right} of ${by([height, width])}`;
  const frame = image(atlas.picture(numbers, number_), words, atlas.index.picture[2] > 1);
  const mark = h("i", { class: "box" });
  Object.assign(mark.style, {
    top: `${(100 * top) / height}%`, left: `${(100 * left) / width}%`,
    height: `${(100 * (bottom - top)) / height}%`, width: `${(100 * (right - left)) / width}%`,
  });
  frame.append(mark);
  return frame;
}

/** What shows the pictures that a unit has, by their parts in `atlas.tile`. */
export const WORDS = [["Image patch", "Image patches"], ["Projection", "Projections"],
  ["With random weights", "With random weights"], ["Another channel there", "Other channels at the same places"]];

/**
 * @param {Shown} shown
 * @param {number} at
 * @param {number} part
 */
export function tile({ layer, channel, units }, at, part) {
  const [value, , name, label] = units[at];
  return image(atlas.tile(layer, channel, at, part), `${WORDS[part][0]} ${at + 1}: ${label || name}, activation ${number(value)}`, layer.tile[2] > 1);
}

/**
 * The projection over the patch, and the slider that fades it in.
 * @param {Shown} shown
 * @param {number} at
 */
function overlay(shown, at) {
  const under = tile(shown, at, 0);
  const over = tile(shown, at, 1);
  over.classList.add("over");
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Projection over the patch, in percent" });
  const fade = () => { over.style.opacity = String(Number(slider.value) / 100); };
  slider.addEventListener("input", fade);
  fade();
  return h("figure", { class: "pictures" }, h("figcaption", null, "Projection over the patch"), h("div", { class: "stacked" }, under, over), slider);
}

/** Lines of Python that project a unit again. @param {Shown} shown @param {number} at */
function python({ layer, channel, units }, at) {
  const [, number_, , , , position] = units[at];
  const where = position.length ? `, position=(${position.join(", ")}${position.length === 1 ? "," : ""})` : "";
  return [
    "# net and data: the network and the data set of this atlas",
    `image = data[${number_}][0]`,
    `projection = net.project(image, ${JSON.stringify(layer.name)}, channel=${channel}${where})`,
    "projection.figure().savefig(\"projection.png\")"].join("\n");
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed here
    const area = h("textarea", { "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * A picture as a PNG file. Browsers refuse it for a page that was opened from the disk.
 * @param {Part[]} parts side by side
 * @param {string} name
 */
async function save(parts, name) {
  const sheets = await Promise.all(parts.map(async ({ file }) => {
    const sheet = new Image();
    sheet.src = file;
    await sheet.decode();
    return sheet;
  }));
  const [height, width] = parts[0].size;
  const enlarged = Math.max(1, Math.floor(448 / height));
  const canvas = h("canvas", { width: parts.length * width * enlarged, height: height * enlarged });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  parts.forEach(({ at: [y, x] }, n) => context.drawImage(sheets[n], x, y, width, height, n * width * enlarged, 0, width * enlarged, height * enlarged));
  const anchor = h("a", { href: canvas.toDataURL("image/png"), download: name });
  anchor.click();
}

/** Closes what is shown large, as its channel is left. */
export const close = () => /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog.lightbox"))?.close();

/**
 * Shows a unit large; the arrow keys go to the channel's others.
 * @param {Shown} shown
 * @param {number} first
 */
export function open(shown, first) {
  const { layer, channel, units, numbers, beside } = shown;
  let at = first;
  const title = h("h2", { id: "unit-title" });
  const pictures = h("div", { class: "large" });
  const facts = h("p", { class: "unit-facts" });
  const said = h("p", { class: "muted", role: "status" });
  const button = (/** @type {string} */ words, /** @type {() => any} */ act, /** @type {string} */ done) => {
    const made = h("button", { type: "button" }, words);
    made.addEventListener("click", () => Promise.resolve(act()).then(() => { said.textContent = done; }, () => {
      said.textContent = "The browser does not let a page from the disk save pictures. Open the atlas from a web server, for example with python -m http.server.";
    }));
    return made;
  };
  const file = () => `${layer.name}-${channel}-${at + 1}.png`;
  const dialog = h("dialog", { class: "lightbox", "aria-labelledby": "unit-title" },
    h("div", { class: "lightbox-head" }, title, h("form", { method: "dialog" }, h("button", { autofocus: true, "aria-label": "Close" }, "✕"))),
    pictures, facts,
    h("div", { class: "actions" },
      button("previous", () => show(at - 1), ""), button("next", () => show(at + 1), ""),
      button("copy link", () => copy(location.href), "The address of this page is copied."),
      button("copy Python", () => copy(python(shown, at)), "Lines that project this unit again are copied."),
      button("save PNG", () => save([0, 1].map((part) => atlas.tile(layer, channel, at, part)), file()), "")),
    said);

  /** @param {number} to */
  function show(to) {
    at = (to + units.length) % units.length;
    const [value, image_, name, label, , position] = units[at];
    title.textContent = `${layer.name} channel ${channel}: unit ${at + 1} of ${units.length}`;
    const parts = atlas.index.evidence ? [0, 1, 3, 2] : [0, 1];
    const shownParts = beside && beside[at] < 0 ? parts.filter((part) => part !== 3) : parts;
    pictures.replaceChildren(
      h("figure", { class: "pictures" }, h("figcaption", null, "Full image"), place(numbers, units[at])),
      ...shownParts.map((part) => h("figure", { class: "pictures" },
        h("figcaption", null, part === 3 && beside ? `Channel ${beside[at]} there` : WORDS[part][0]), tile(shown, at, part))),
      overlay(shown, at));
    const where = position.length ? `, position ${position.join(", ")} of the map` : "";
    facts.textContent = `Activation ${number(value)}${label && `, ${label}`}, ${name === String(image_) ? "" : `${name}, `}image ${image_}${where}.`;
  }

  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || /** @type {HTMLElement} */ (event.target).matches("input")) return;
    show(at + step);
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  show(first);
  dialog.showModal();
}
