"use strict";
// From the address to what is shown, and the keys and buttons that work everywhere.

(() => {
  const { h, link } = dom;
  const main = document.getElementById("main");
  const help = document.getElementById("help");
  const scrolled = new Map(); // overview, grid or channels -> where it was left
  let shown = null; // { route, view, place }
  let latest = 0;

  /** The layer, channel and query of an address such as #/features.3/17?sort=firing; throws where there is none such. */
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

  function message(error) {
    const element = h("div", null, h("p", { class: "notice", role: "alert" }, error.message));
    if (atlas.index) element.append(h("p", null, h("a", { href: "#/" }, "All layers")));
    return { element, title: "Not found" };
  }

  async function show() {
    const ticket = ++latest;
    const address = location.hash;
    let route = {};
    let view;
    try {
      if (!atlas.index) await atlas.open();
      route = parse(address);
      const kind = route.channel !== undefined ? channelPage : route.layer ? grid : overview;
      view = await kind.view(route);
    } catch (error) {
      view = message(error);
    }
    if (ticket !== latest) return;
    const from = shown && shown.route;
    if (shown) {
      scrolled.set(shown.place, scrollY);
      if (shown.view.leave) shown.view.leave();
    }
    shown = { route, view, place: placeOf(route) };
    main.replaceChildren(view.element);
    search.at(route.layer);
    document.title = [view.title, atlas.index && atlas.index.title].filter(Boolean).join(" – ");
    document.getElementById("home").textContent = atlas.index ? atlas.index.title : document.title;
    const kept = scrolled.get(shown.place) || 0;
    scrollTo(0, route.layer ? 0 : kept);
    const heading = main.querySelector("h1");
    if (heading && from) heading.focus({ preventScroll: true });
    if (view.arrive) view.arrive(from, kept);
  }

  // A grid is one place whatever it is sorted by; a channel begins at its top.
  function placeOf({ layer, channel, query }) {
    if (channel !== undefined) return "channel";
    return layer ? String(layer.number) : query === undefined ? "nowhere" : "overview";
  }

  function up() {
    if (!shown) return;
    const { layer, channel } = shown.route;
    if (channel !== undefined) location.hash = link(layer, undefined, grid.lastQuery(layer));
    else location.hash = "#/";
  }

  function beside(step) {
    const layer = shown && shown.route.layer;
    const next = layer && atlas.index.layers[layer.number + step];
    if (next) location.hash = link(next, undefined, grid.lastQuery(next));
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || help.open) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    if (event.key === "/") search.focus();
    else if (event.key === "?") help.showModal();
    else if (event.key === "Escape") up();
    else if (event.shiftKey && event.key === "ArrowLeft") beside(-1);
    else if (event.shiftKey && event.key === "ArrowRight") beside(1);
    else if (!(shown && shown.view.key && shown.view.key(event))) return;
    event.preventDefault();
  });

  const themeButton = document.getElementById("theme");
  const themed = () => themeButton.setAttribute("aria-pressed", String(theme.current() === "dark"));
  themeButton.addEventListener("click", () => {
    theme.toggle();
    themed();
  });
  theme.system.addEventListener("change", themed);
  themed();
  document.getElementById("keys").addEventListener("click", () => help.showModal());

  history.scrollRestoration = "manual";
  addEventListener("hashchange", show);
  show();
})();
