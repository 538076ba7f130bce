// From the address to what is shown, and from what is pressed to the address.

import { breakable, byId } from "../shared/elements.js";
import * as keys from "../shared/keys.js";
import { classesIn, described, firingAt, layersIn } from "../shared/layer_list.js";
import { gridIn } from "../shared/map_grid.js";
import * as search from "../shared/search.js";
import { stageIn } from "../shared/stage.js";
import * as theme from "../shared/theme.js";
import { Refused, Superseded } from "../shared/refusals.js";
import * as address from "./address.js";
import * as camera from "./camera.js";
import * as files from "./files.js";
import * as pins from "./pins.js";
import * as placing from "./placing.js";
import * as python from "./python.js";
import { ask, cancel, cancelAll, clearNotice, give, kept, notice, onReconnected, orSay, save } from "./server.js";
import * as strip from "./strip.js";
import * as unit from "./unit.js";

theme.restore();
/** @type {address.View} */
let view = address.read();
/** @type {any} */
let state = null;
/** What was asked for last, by its kind. @type {Record<string, string>} */
let asked = {};
/** @type {() => void} */
let answered = () => {};
const ready = new Promise((resolve) => { answered = () => resolve(null); });
let turn = 0;
let taken = ""; // by the camera, the last image
/** @type {{ layer: string, found: any } | null} */
let shownMaps = null;

const stage = stageIn(byId("stage"), { place: (at, goesOn) => go({ at }, goesOn), moves: placing.draggedBy(() => view.shift, (shift, goesOn) => go({ shift }, goesOn)) });
const layers = layersIn(byId("layers"), (layer) => open(layer, null, ""));
const maps = gridIn(byId("maps"), byId("more"), {
  choose: (channel) => open(shownMaps ? shownMaps.layer : view.layer, channel, ""), // that of another layer may be on its way
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

/** What cannot be shown is asked for again the next time. @param {string} kind @param {Promise<any>} work */
async function trying(kind, work) {
  const own = asked[kind];
  try {
    await work;
  } catch (error) {
    if (asked[kind] === own) delete asked[kind]; // not what was asked for meanwhile
    throw error;
  }
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
    all.push(trying("maps", showMaps(seen, layer)));
    if (!live) first = Promise.allSettled(all.slice(-1)).then(unit.painted);
  } else if (layer) {
    maps.sortBy(view.sort);
    maps.choose(channel);
  }
  if (moved) all.push(trying("image", showImage(seen, first)));
  layers.mark(layer);
  if (!layer) byId("maps-part").hidden = true;
  if (layer && channel !== null) {
    if (changed("unit", unit.fieldsOf(view))) all.push(trying("unit", showUnit(live, first)));
  } else {
    stage.frameAt(null);
    const whole = view.whole && layer ? { ...seen, layer } : null;
    if (changed("unit", whole) && whole) all.push(trying("unit", unit.showWhole(whole)));
    else if (!whole) unit.clear();
  }
  if (view.at && changed("at", [seen, view.at])) all.push(trying("at", showPlace(seen)));
  if (!view.at) {
    cancel("place");
    changed("at", "");
    byId("at").hidden = true;
  }
  unit.markPinned(pins.placeOf(view) >= 0);
  const pinned = changed("pins", view.pins);
  if (changed("pinned image", seen) || pinned) all.push(trying("pinned image", pins.show(view, !pinned)));
  return all;
}

let imageTurn = 0;

/** @param {{ image: string, shift: string }} seen @param {Promise<any> | null} first after which it is asked for */
async function showImage(seen, first) {
  const own = ++imageTurn;
  cancel("image"); // nobody waits for that of the image before, while its maps are waited for
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
  const unknown = !layers.usable().length;
  layers.show(found.layers, view.layer);
  if (unknown) searchAgain();
  describe();
  if (!view.layer) go({ layer: layers.first() }, true);
}

/** @param {{ image: string, shift: string }} seen @param {string} layer */
async function showMaps(seen, layer) {
  const found = await ask("maps", { ...seen, layer });
  if (!(await maps.show(layer, found, view.sort, view.channel))) return;
  byId("maps-part").hidden = false;
  byId("layer-name").replaceChildren(...breakable(layer || "the whole model"));
  shownMaps = { layer, found };
  describe();
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
    if (!(error instanceof Superseded)) stage.frameAt(null);
    throw error;
  }
}

/** @param {{ image: string, shift: string }} seen */
async function showPlace(seen) {
  const { at } = view;
  try {
    const { layers: found } = await ask("place", { ...seen, at });
    byId("at").hidden = false;
    byId("at").replaceChildren(...firingAt(at, found, open, () => go({ at: "" })));
  } catch (error) {
    if (!(error instanceof Superseded)) {
      byId("at").hidden = true;
      stage.crossAt("");
    }
    throw error;
  }
}

// What is pressed

function copyPython() {
  const ownWeights = view.channel === null && { random: "" }; // a whole layer is reconstructed with these
  return orSay(python.show(unit.fieldsOf(view, { style: state.styles[0], ...ownWeights })));
}

let choice = 0; // of an image, the last

/** @param {File} file @param {string} name */
async function giveImage(file, name) {
  await ready; // it may come before the server has answered
  camera.stop(false);
  const own = ++choice;
  try {
    byId("status").textContent = `Reading ${name} …`;
    const image = await give(file, name, false);
    if (own === choice) await go({ image, shift: "", at: "" }); // another may have been chosen while it was read
    await strip.showOwn();
  } catch (error) {
    if (error instanceof Refused) notice(error.message);
  } finally {
    if (own === choice) byId("status").textContent = "";
  }
}

/** Another image is chosen than one that is still read. */
function choose() {
  choice += 1;
  byId("status").textContent = "";
}

/** Another image is chosen than that of the camera, or than one that is still read. */
function leaveImage() {
  camera.stop(false);
  choose();
}

/** @param {string} image @param {Partial<address.View>} [more] @param {boolean} [replaces] as in `go` */
function chooseImage(image, more, replaces) {
  if (!image) return;
  leaveImage();
  go({ image, shift: "", at: "", ...more }, replaces);
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

/** A pin keeps the image that is shown, or follows it again. @param {address.Pin} pin */
async function keep(pin) {
  const { shift } = view;
  const own = pin.image ? { image: "", shift: "" } : { image: await kept(view.image), shift };
  await Promise.all([go({ pins: view.pins.map((one) => (one === pin ? { ...one, ...own } : one)) }), strip.showOwn()]);
}

/** In one column the unit lies below everything else. */
function toUnit() {
  if (matchMedia("(max-width: 44rem)").matches) byId("unit-title").parentElement.scrollIntoView({ block: "start" });
}

function attach() {
  pins.attach({
    remove: (at) => go({ pins: view.pins.filter((_, place) => place !== at) }),
    keep: (at) => orSay(keep(view.pins[at])),
    open: (at) => go({ layer: view.pins[at].layer, channel: view.pins[at].channel, position: view.pins[at].position, whole: false }),
  });
  unit.attach(state.styles, {
    pin,
    python: copyPython,
    save: (kind) => orSay(save(kind, unit.fieldsOf(view, { style: state.styles[0] }))),
    options: (changes) => go(changes),
    unit: (layer, channel) => go({ layer, channel, position: "", whole: false }),
    place: (image, unit) => chooseImage(image, { ...unit, whole: false }),
  });
  camera.attach(async (image, live) => {
    if (image) {
      const goesOn = view.image === taken;
      taken = image;
      choose();
      await go(goesOn ? { image } : { image, shift: "", at: "" }, live); // its place stays from frame to frame
    }
    if (!live) await strip.showOwn();
  });
  byId("cancel").addEventListener("click", cancelAll);
  byId("sort").addEventListener("change", () => go({ sort: byId("sort").value }, true));
  byId("whole").addEventListener("click", () => go({ whole: true, channel: null, position: "" }));
  placing.attach(() => view.shift, (shift) => go({ shift }));
  document.addEventListener("visibilitychange", () => { if (document.hidden) camera.stop(true); });
  python.attach();
  addEventListener("popstate", back); // which comes at once, unlike "hashchange"
}

/** @param {address.View} some what an address says; the first image and layer where it says none */
function completed(some) {
  const first = state.dataset ? "data-0" : state.own.length ? state.own[0][0] : "";
  return { ...some, image: some.image || first, layer: some.layer || layers.first() };
}

function back() {
  if (address.left()) {
    history.forward();
    return;
  }
  const before = JSON.stringify(view);
  const next = completed(address.read());
  if (JSON.stringify(next) === before) return;
  leaveImage();
  view = next;
  document.title = titleOf();
  show();
}

/** A key that is held is one step, and turns nothing on and off. @param {KeyboardEvent} event */
function key(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const once = (/** @type {() => void} */ act) => { if (!event.repeat) act(); };
  if (event.key === " " && camera.running() && !target.matches("button, input, a, summary")) once(camera.freeze);
  else if (event.key === "[" || event.key === "]") {
    const layer = layers.beside(view.layer, event.key === "[" ? -1 : 1);
    if (layer) go({ layer, channel: null, position: "", whole: false }, event.repeat);
  } else if (event.key === "," || event.key === ".") chooseImage(strip.beside(view.image, event.key === "," ? -1 : 1), {}, event.repeat);
  else if (event.key === "p") once(pin);
  else if (event.key === "w" && view.channel !== null) once(() => go({ random: !view.random }));
  else return false;
  return true;
}

/** Everything is asked for again, as after the server was away; it may have been started anew with another network. */
async function again() {
  asked = {};
  try {
    const now = await ask("state", {});
    if (JSON.stringify({ ...now, own: null }) !== JSON.stringify({ ...state, own: null })) location.reload();
    else show();
  } catch (error) {
    if (error instanceof Refused) notice(error.message);
  }
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
  if (location.search) history.replaceState(history.state, "", `${location.pathname}${location.hash}`); // the token has done its work
  attach();
  strip.attach(state.dataset, chooseImage);
  byId("main").inert = false;
  answered();
  await Promise.all([go(completed(address.read()), true), orSay(strip.showOwn())]); // it may have changed meanwhile
}

files.attach(giveImage);
theme.attach(byId("theme"));
keys.attach((event) => !byId("main").inert && key(event));
const searchAgain = search.attach(layers.usable, () => layers.layerOf(view.layer),
  (layer, channel) => open(layer.name, channel === undefined ? null : channel, ""));
start();
