// From the address to what is shown, and the keys and buttons that work everywhere.

import { byId, h } from "../shared/elements.js";
import * as keys from "../shared/keys.js";
import * as search from "../shared/search.js";
import * as theme from "../shared/theme.js";
import * as channelPage from "./channel.js";
import { atlas } from "./data.js";
import * as found from "./found.js";
import * as grid from "./grid.js";
import * as overview from "./overview.js";
import { link } from "./parts.js";

/** @typedef {import("./data.js").Layer} Layer */
/** @typedef {{ layer?: Layer, channel?: number, query?: string }} Route */

/**
 * A page: `key` does what a key means, on the way to a route that may not be shown yet, and returns whether it means
 * anything; `arrive` is called when the page is in the document, with the route before and the place where it was
 * scrolled to.
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string | null} title
 * @property {(event: KeyboardEvent, ahead: Route) => boolean} [key]
 * @property {(from: Route | null, scrolled: number) => void} [arrive]
 * @property {() => void} [leave]
 */

theme.restore(); // before the page is painted, so that nothing flashes

/** @type {Map<string, number>} */
const scrolled = new Map(); // overview, grid or channels -> where it was left
/** @type {{ address: string, route: Route, view: View, place: string } | null} */
let shown = null;
let latest = 0;
/** Keys for a page that is on its way. @type {KeyboardEvent[]} */
const early = [];
let searchAgain = () => {};

/**
 * The layer, channel and query of an address such as #/features.3/17?sort=firing; throws where there is none such.
 * @param {string} hash
 * @returns {Route}
 */
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?");
  if (!path) return { query };
  const [name, number, ...rest] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const layer = atlas.layer(name);
  if (!layer && (atlas.index.unfinished || []).includes(name)) throw new Error(`Layer “${name}” is not built yet. Reload the page later.`);
  if (!layer) throw new Error(`There is no layer “${name}” in this atlas.`);
  if (number === undefined) return { layer, query };
  const channel = Number(number);
  if (rest.length || !/^\d+$/.test(number) || channel >= layer.channels) {
    throw new Error(`There is no channel “${[number, ...rest].join("/")}” in ${layer.name}; its channels are 0 to ${layer.channels - 1}.`);
  }
  return { layer, channel, query };
}

/** @param {Error} error @returns {View} */
function message(error) {
  const element = h("div", null, h("p", { class: "notice", role: "alert" }, error.message));
  if (atlas.index) element.append(h("p", null, h("a", { href: "#/" }, "All layers")));
  return { element, title: "Not found" };
}

/** @param {Route} route @returns {Promise<View> | View} */
function viewOf({ layer, channel, query = "" }) {
  if (!layer) return overview.view();
  return channel === undefined ? grid.view(layer, query, rename) : channelPage.view(layer, channel);
}

/**
 * Gives what is shown another address, as a grid does when its options change.
 * @param {string} address
 */
function rename(address) {
  if (!shown || shown.address !== location.hash) return; // another page is on its way
  history.replaceState(null, "", address);
  shown.address = location.hash;
}

/** After quick keys the first of their events finds the last address; what is shown already stays, with its focus. */
async function show() {
  const main = byId("main");
  const ticket = ++latest;
  const address = location.hash;
  if (shown && shown.address === address) return;
  /** @type {Route} */
  let route = {};
  /** @type {View} */
  let view;
  try {
    if (!atlas.index) {
      await atlas.open();
      searchAgain();
    }
    route = parse(address);
    view = await viewOf(route);
  } catch (error) {
    view = message(/** @type {Error} */ (error));
  }
  if (ticket !== latest) return;
  const from = shown && shown.route;
  if (shown) {
    scrolled.set(shown.place, scrollY);
    if (shown.view.leave) shown.view.leave();
  }
  shown = { address, route, view, place: placeOf(route) };
  main.replaceChildren(view.element);
  document.title = [view.title, atlas.index && atlas.index.title].filter(Boolean).join(" – ");
  byId("home").textContent = atlas.index ? atlas.index.title : document.title;
  const kept = scrolled.get(shown.place) || 0;
  scrollTo(0, route.layer ? 0 : kept);
  const heading = main.querySelector("h1");
  if (heading && from && !search.isUsed()) heading.focus({ preventScroll: true });
  if (view.arrive) view.arrive(from, kept);
  while (early.length && address === location.hash) key(/** @type {KeyboardEvent} */ (early.shift()));
}

/**
 * A grid is one place whatever it is sorted by; a channel begins at its top.
 * @param {Route} route
 */
function placeOf({ layer, channel, query }) {
  if (channel !== undefined) return "channel";
  return layer ? String(layer.number) : query === undefined ? "nowhere" : "overview";
}

/** Where the address leads, which quick keys have changed before it is shown; of none, the overview. @returns {Route} */
function ahead() {
  try {
    return parse(location.hash);
  } catch {
    return {};
  }
}

function up() {
  const { layer, channel } = ahead();
  location.hash = layer && channel !== undefined ? link(layer, undefined, grid.lastQuery(layer)) : "#/";
}

/** @param {number} step */
function beside(step) {
  const { layer } = ahead();
  const next = layer && atlas.index.layers[layer.number + step];
  if (next) location.hash = link(next, undefined, grid.lastQuery(next));
}

/** @param {KeyboardEvent} event */
function key(event) {
  if (event.key === "Escape") up();
  else if (event.shiftKey && event.key === "ArrowLeft") beside(-1);
  else if (event.shiftKey && event.key === "ArrowRight") beside(1);
  else if (!shown || (shown.address !== location.hash && !withinLayer(shown.route, ahead()))) {
    if (!/^(Arrow.*|p)$/i.test(event.key)) return false;
    early.push(event);
  } else return Boolean(shown.view.key && shown.view.key(event, ahead()));
  return true;
}

/** @param {Route} one @param {Route} other @returns whether both are channels of a layer */
const withinLayer = (one, other) => one.layer === other.layer && one.channel !== undefined && other.channel !== undefined;

document.addEventListener("DOMContentLoaded", () => {
  keys.attach(key);
  theme.attach(byId("theme"));
  searchAgain = search.attach(() => (atlas.index ? atlas.index.layers : []), () => ahead().layer,
    (layer, channel, query) => { location.hash = link(layer, channel, query); }, found.like);
  history.scrollRestoration = "manual";
  addEventListener("hashchange", show);
  show();
});
