// What is shown stands in the address: copying it, going back and forward, and loading it again lead to the same view.
// Frames of a camera come and go; the address stays at the image before them.

/**
 * @typedef {object} Pin
 * @property {string} image "" follows the image that is shown
 * @property {string} shift
 * @property {string} layer
 * @property {number} channel
 * @property {string} position "" for the strongest
 */

/**
 * @typedef {object} View
 * @property {string} image
 * @property {string} shift how the image lies, see `placing.js`
 * @property {string} layer
 * @property {number | null} channel
 * @property {string} position
 * @property {string} sort
 * @property {string} at
 * @property {string} seed
 * @property {boolean} random
 * @property {boolean} whole
 * @property {Pin[]} pins
 */

const SORTS = ["strength", "number", "selective"];
const LATER = 100; // milliseconds, in which pictures usually come

/** The number of the entry of the history; one that the reader has written is the next. @returns {number} */
function entry() {
  if (history.state?.step === undefined) history.replaceState({ step: step + 1 }, "");
  return history.state.step;
}
let step = -1;
step = entry();

/** What the address says of the image. */
let still = { image: "", shift: "" };

/** @param {string} image */
export const isLive = (image) => image.startsWith("live-");

/** @returns {View} */
export function read() {
  const words = new URLSearchParams(location.hash.slice(1));
  still = { image: words.get("image") || "", shift: words.get("shift") || "" };
  const channel = words.get("channel");
  return {
    ...still,
    layer: words.get("layer") || "",
    channel: channel !== null && /^\d+$/.test(channel) ? Number(channel) : null,
    position: words.get("position") || "",
    sort: SORTS.find((sort) => sort === words.get("sort")) || SORTS[0],
    at: words.get("at") || "",
    seed: words.get("seed") || "",
    random: words.get("random") === "1",
    whole: words.get("whole") === "1",
    pins: words.getAll("pin").slice(0, 4).flatMap(pinOf),
  };
}

/** @param {string} text @returns {Pin[]} */
function pinOf(text) {
  try {
    const [image, shift, layer, channel, position] = JSON.parse(text);
    return typeof layer === "string" && Number.isInteger(channel) ? [{ image, shift, layer, channel, position }] : [];
  } catch {
    return [];
  }
}

/** What is entered soon. @type {{ address: string, replaces: boolean, title: string } | null} */
let coming = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let clock;

/**
 * Writes a view into the address, after its pictures: entering it would delay them.
 * @param {View} view
 * @param {boolean} replaces whether it takes the place of the address before
 * @param {string} title of the page
 */
export function write(view, replaces, title) {
  const words = new URLSearchParams();
  if (!isLive(view.image)) still = { image: view.image, shift: view.shift };
  const written = { ...view, ...still };
  for (const name of /** @type {const} */ (["image", "shift", "layer", "position", "at", "seed"])) {
    if (written[name]) words.set(name, written[name]);
  }
  if (view.channel !== null) words.set("channel", String(view.channel));
  if (view.sort !== "strength") words.set("sort", view.sort);
  if (view.random) words.set("random", "1");
  if (view.whole) words.set("whole", "1");
  for (const pin of view.pins) {
    words.append("pin", JSON.stringify([pin.image, pin.shift, pin.layer, pin.channel, pin.position]));
  }
  const address = `${location.pathname}#${words}`;
  if (coming && replaces) coming = { ...coming, address, title };
  else {
    enter();
    coming = { address, replaces, title };
  }
  if (clock === undefined) clock = setTimeout(enter, LATER);
}

/** Enters what is coming, if anything is. */
function enter() {
  clearTimeout(clock);
  clock = undefined;
  if (!coming) return;
  const { address, replaces, title } = coming;
  coming = null;
  if (address !== location.pathname + location.hash) {
    if (!replaces) step += 1;
    history[replaces ? "replaceState" : "pushState"]({ step }, "", address);
  }
  document.title = title;
}

/**
 * The reader has gone to another address, so that nothing is coming any more.
 * @returns whether they went back before the last step was entered: what they want lies one step forward
 */
export function left() {
  const here = entry();
  const skipped = coming !== null && !coming.replaces && here < step;
  coming = null;
  step = here;
  return skipped;
}
