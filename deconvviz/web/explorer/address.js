// What is shown stands in the address: copying it, going back and forward, and loading it again lead to the same view.

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

/** @returns {View} */
export function read() {
  const words = new URLSearchParams(location.hash.slice(1));
  const channel = words.get("channel");
  return {
    image: words.get("image") || "",
    shift: words.get("shift") || "",
    layer: words.get("layer") || "",
    channel: channel !== null && /^\d+$/.test(channel) ? Number(channel) : null,
    position: words.get("position") || "",
    sort: words.get("sort") || "strength",
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

/** @param {View} view @param {boolean} replaces whether it takes the place of the address before */
export function write(view, replaces) {
  const words = new URLSearchParams();
  for (const name of /** @type {const} */ (["image", "shift", "layer", "position", "at", "seed"])) {
    if (view[name]) words.set(name, view[name]);
  }
  if (view.channel !== null) words.set("channel", String(view.channel));
  if (view.sort !== "strength") words.set("sort", view.sort);
  if (view.random) words.set("random", "1");
  if (view.whole) words.set("whole", "1");
  for (const pin of view.pins) {
    words.append("pin", JSON.stringify([pin.image, pin.shift, pin.layer, pin.channel, pin.position]));
  }
  const address = `${location.pathname}#${words}`;
  if (replaces || address === location.pathname + location.hash) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}
