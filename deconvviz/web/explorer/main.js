// From the address to what is shown, and from what is pressed to the address.

import { breakable, byId, h } from "../shared/elements.js";
import * as keys from "../shared/keys.js";
import { classesIn, described, firingAt, layersIn } from "../shared/layer_list.js";
import { gridIn } from "../shared/map_grid.js";
import * as search from "../shared/search.js";
import { stageIn } from "../shared/stage.js";
import * as theme from "../shared/theme.js";
import { Refused, Superseded } from "../shared/refusals.js";
import * as address from "./address.js";
import * as camera from "./camera.js";
import * as pins from "./pins.js";
import * as placing from "./placing.js";
import { ask, cancel, cancelAll, clearNotice, give, notice, onReconnected, orSay, save } from "./server.js";
import * as strip from "./strip.js";
import * as unit from "./unit.js";

theme.restore();
/** @type {address.View} */
let view = address.read();
/** @type {any} */
let state = null;
/** What was asked for last, by its kind. @type {Record<string, string>} */
let asked = {};
let turn = 0;
let taken = ""; // by the camera, the last image
/** @type {{ layer: string, found: any } | null} */
let shownMaps = null;

const stage = stageIn(byId("stage"), { place: (at) => go({ at }), moves: placing.draggedBy(() => view.shift, (shift, done) => go({ shift }, !done)) });
const layers = layersIn(byId("layers"), (layer) => open(layer, null, ""));
const maps = gridIn(byId("maps"), byId("more"), {
  choose: (channel) => {
    go({ channel, position: "", whole: false });
    toUnit();
  },
  over: stage.overlay,
});

/**
 * Shows a layer, or a unit in it.
 * @param {string} layer
 * @param {number | null} channel
 * @param {string} position
 */
function open(layer, channel, position) {
  go({ layer, channel, position, whole: false });
  if (channel !== null) toUnit();
}

/**
 * Changes what is shown.
 * @param {Partial<address.View>} changes
 * @param {boolean} [replaces] whether the address takes the place of the one before
 */
function go(changes, replaces = false) {
  view = { ...view, ...changes };
  address.write(view, replaces, titleOf());
  return show();
}

const titleOf = () => [view.layer && view.channel !== null ? `${view.layer} ${view.channel}` : view.layer, state && state.title].filter(Boolean).join(" – ");

/** Brings the page to the view; what has not changed stays. */
async function show() {
  const own = ++turn;
  clearNotice();
  await Promise.all(parts().map(orSay));
  document.body.dataset.shown = String(own);
}

/** @param {string} kind @param {any} what @returns whether this is not what was asked for last */
function changed(kind, what) {
  const key = JSON.stringify(what);
  const before = asked[kind];
  asked[kind] = key;
  return before !== key;
}

/** What has to be asked for. */
function parts() {
  const { image, shift, layer, channel } = view;
  const live = camera.running() && address.isLive(image);
  /** @type {Promise<any>[]} */
  const all = [];
  strip.mark(image);
  byId("sort").value = view.sort;
  stage.crossAt(view.at);
  placing.show(shift);
  if (changed("strip", image)) all.push(strip.showAround(image));
  if (!image) {
    unit.clear();
    return all;
  }
  const seen = { image, shift };
  const moved = changed("image", seen);
  /** @type {Promise<any> | null} */
  let first = null; // the maps, which one looks at: whatever else is asked for would delay them
  if (layer && changed("maps", [seen, layer])) {
    all.push(showMaps(seen, layer));
    if (!live) first = Promise.allSettled(all.slice(-1)).then(unit.painted);
  } else if (layer) {
    maps.sortBy(view.sort);
    maps.choose(channel);
  }
  if (moved) all.push(showImage(seen, first));
  layers.mark(layer);
  if (!layer) byId("maps-part").hidden = true;
  if (layer && channel !== null) {
    if (changed("unit", unit.fieldsOf(view))) all.push(showUnit(live, first));
  } else {
    changed("unit", null);
    stage.frameAt(null);
    if (view.whole && layer) all.push(showWhole(seen, layer));
    else unit.clear();
  }
  if (view.at && changed("at", [seen, view.at])) all.push(showPlace(seen));
  if (!view.whole) cancel("reconstruction"); // its picture would take the place of the unit's
  if (!view.at) {
    cancel("place");
    changed("at", "");
    byId("at").hidden = true;
  }
  unit.markPinned(pins.placeOf(view) >= 0);
  const pinned = changed("pins", view.pins);
  if (changed("pinned image", seen) || pinned) all.push(pins.show(view, !pinned));
  return all;
}

let imageTurn = 0;

/** @param {{ image: string, shift: string }} seen @param {Promise<any> | null} first after which it is asked for */
async function showImage(seen, first) {
  const own = ++imageTurn;
  cancel("image"); // nobody waits for that of the image before, while its maps are waited for
  try {
    await first;
    if (own !== imageTurn) throw new Superseded();
    const found = await ask("image", seen);
    if (own !== imageTurn) throw new Superseded();
    stage.show(found);
    camera.fit(found.size);
    byId("image-name").textContent = found.name;
    placing.fit(found.size);
    byId("classes-part").hidden = !found.classes.length;
    byId("classes").replaceChildren(...classesIn(found.classes, open));
    layers.show(found.layers, view.layer);
    describe();
    if (!view.layer) go({ layer: layers.first() }, true);
  } catch (error) {
    forget("image", error);
  }
}

/** @param {{ image: string, shift: string }} seen @param {string} layer */
async function showMaps(seen, layer) {
  try {
    const found = await ask("maps", { ...seen, layer });
    if (!(await maps.show(layer, found, view.sort, view.channel))) return;
    byId("maps-part").hidden = false;
    byId("layer-name").replaceChildren(...breakable(layer || "the whole model"));
    shownMaps = { layer, found };
    describe();
  } catch (error) {
    forget("maps", error);
  }
}

/** Says of the layer whose maps are shown what is known of both. */
function describe() {
  if (!shownMaps) return;
  const known = layers.layerOf(shownMaps.layer);
  byId("layer-facts").textContent = known ? described(known, shownMaps.found) : "";
}

/** @param {boolean} live @param {Promise<any> | null} first after which it is asked for */
async function showUnit(live, first) {
  try {
    stage.frameAt((await unit.show(view, live, first)).box);
  } catch (error) {
    forget("unit", error);
  }
}

/** @param {{ image: string, shift: string }} seen */
async function showPlace(seen) {
  try {
    const { layers: found } = await ask("place", { ...seen, at: view.at });
    byId("at").hidden = false;
    byId("at").replaceChildren(...firingAt(view.at, found, open, () => go({ at: "" })));
  } catch (error) {
    forget("at", error);
  }
}

/** @param {{ image: string, shift: string }} seen @param {string} layer */
async function showWhole(seen, layer) {
  const found = await ask("reconstruction", { ...seen, layer });
  const python = h("button", { type: "button" }, "Copy as Python");
  python.addEventListener("click", copyPython);
  byId("unit-title").textContent = `${layer}, all activations at once`;
  byId("unit").replaceChildren(
    h("figure", { class: "seen whole" }, h("img", { src: found.picture, alt: `The image reconstructed from ${layer}` }), h("figcaption", null, found.style)),
    h("p", { class: "muted small" }, "The way back is not linear: this is not the sum of the units’ projections."),
    h("div", { class: "row" }, python));
}

/**
 * What could not be shown is asked for again the next time.
 * @param {string} kind
 * @param {unknown} error
 */
function forget(kind, error) {
  delete asked[kind];
  throw error;
}

// What is pressed

async function copyPython() {
  try {
    const { lines } = await ask("python", unit.fieldsOf(view, { style: state.styles[0] }));
    byId("code").textContent = lines;
    byId("copied").textContent = "";
    byId("lines").showModal();
  } catch (error) {
    if (error instanceof Refused) notice(error.message);
  }
}

/** @param {Blob | null | undefined} content @param {string} name */
async function giveImage(content, name) {
  if (!content) return;
  camera.stop(false);
  try {
    byId("status").textContent = `Reading ${name} …`;
    await go({ image: await give(content, name, false), shift: "", at: "" });
    await strip.showOwn();
  } catch (error) {
    if (error instanceof Refused) notice(error.message);
  } finally {
    byId("status").textContent = "";
  }
}

function giveFile() {
  const [file] = byId("file").files;
  giveImage(file, file && file.name);
  byId("file").value = "";
}

/** @param {string} image */
function chooseImage(image) {
  if (!image) return;
  camera.stop(false);
  go({ image, shift: "", at: "" });
}

/** Pins the unit; one that is pinned already is taken off. */
function pin() {
  if (view.channel === null || !view.layer) return;
  const at = pins.placeOf(view);
  if (at >= 0) {
    go({ pins: view.pins.filter((_, place) => place !== at) });
    return;
  }
  if (view.pins.length >= pins.MOST) {
    notice(`${pins.MOST} units are pinned already; remove one.`);
    return;
  }
  go({ pins: [...view.pins, { image: "", shift: "", layer: view.layer, channel: view.channel, position: view.position }] });
}

/** In one column the unit lies below everything else. */
function toUnit() {
  if (matchMedia("(max-width: 44rem)").matches) byId("unit-title").parentElement.scrollIntoView({ block: "start" });
}

function attach() {
  search.attach(layers.usable, () => layers.layerOf(view.layer),
    (layer, channel) => open(layer.name, channel === undefined ? null : channel, ""));
  pins.attach({
    remove: (at) => go({ pins: view.pins.filter((_, place) => place !== at) }),
    keep: (at) => go({ pins: view.pins.map((one, place) => (place === at ? { ...one, image: one.image ? "" : view.image, shift: one.image ? "" : view.shift } : one)) }),
    open: (at) => go({ layer: view.pins[at].layer, channel: view.pins[at].channel, position: view.pins[at].position, whole: false }),
  });
  unit.attach(state.styles, {
    pin,
    python: copyPython,
    save: (kind) => save(kind, unit.fieldsOf(view, { style: state.styles[0] })).catch((error) => notice(error.message)),
    options: (changes) => go(changes),
    unit: (layer, channel) => go({ layer, channel, position: "", whole: false }),
    place: (image, position) => go({ image, shift: "", position, at: "" }),
  });
  camera.attach(async (image, live) => {
    const goesOn = view.image === taken;
    taken = image;
    await go(goesOn ? { image } : { image, shift: "", at: "" }, live); // its place stays from frame to frame
    if (!live) await strip.showOwn();
  });
  byId("cancel").addEventListener("click", cancelAll);
  byId("sort").addEventListener("change", () => go({ sort: byId("sort").value }, true));
  byId("whole").addEventListener("click", () => go({ whole: true, channel: null, position: "" }));
  placing.attach(() => view.shift, (shift) => go({ shift }));
  byId("file").addEventListener("change", giveFile);
  if (byId("file").files.length) giveFile(); // chosen before the server had answered
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData && [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) giveImage(file, file.name || "pasted");
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const file = event.dataTransfer && event.dataTransfer.files[0];
    if (file) giveImage(file, file.name);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) camera.stop(true); });
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("code").textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      document.getSelection()?.selectAllChildren(byId("code"));
      byId("copied").textContent = "The browser lets no page copy here; the lines are selected for you to copy.";
    }
  });
  theme.attach(byId("theme"));
  keys.attach(key);
  addEventListener("popstate", back);
  addEventListener("hashchange", back);
}

/** @param {address.View} some what an address says; the first image and layer where it says none */
function completed(some) {
  const first = state.dataset ? "data-0" : state.own.length ? state.own[0][0] : "";
  return { ...some, image: some.image || first, layer: some.layer || layers.first() };
}

function back() {
  address.forget();
  const before = JSON.stringify(view);
  const next = completed(address.read());
  if (JSON.stringify(next) === before) return;
  camera.stop(false);
  view = next;
  document.title = titleOf();
  show();
}

/** @param {KeyboardEvent} event */
function key(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === " " && camera.running() && !target.matches("button, input, a, summary")) camera.freeze();
  else if (event.key === "[" || event.key === "]") {
    const layer = layers.beside(view.layer, event.key === "[" ? -1 : 1);
    if (layer) go({ layer, channel: null, position: "", whole: false });
  } else if (event.key === "," || event.key === ".") chooseImage(strip.beside(view.image, event.key === "," ? -1 : 1));
  else if (event.key === "p") pin();
  else if (event.key === "w" && view.channel !== null) go({ random: !view.random });
  else return false;
  return true;
}

/** Everything is asked for again, as after the server was away. */
function again() {
  asked = {};
  show();
}

async function start() {
  try {
    state = await ask("state", {});
  } catch (error) {
    notice(error instanceof Refused ? error.message : "The explorer does not answer.");
    onReconnected(start);
    return;
  }
  onReconnected(again);
  byId("title").textContent = state.title;
  if (location.search) history.replaceState(null, "", `${location.pathname}${location.hash}`); // the token has done its work
  attach();
  strip.attach(state.dataset, chooseImage);
  await Promise.all([go(completed(address.read()), true), orSay(strip.showOwn())]); // it may have changed meanwhile
}

start();
