"use strict";
// The search for a layer and a channel: "features.3 17", "features.3/17", "17" within a layer, "conv" for all such.

const search = (() => {
  const { h, link, plural } = dom;
  const MOST = 12;
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  let hits = [];
  let active = 0;
  let here = null; // the layer that is shown

  /** Layers that a text means: those named so, those that start so, those that contain it. */
  function layersLike(text) {
    const wanted = text.toLowerCase();
    const rank = (layer) => {
      const name = layer.name.toLowerCase();
      return name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : 3;
    };
    const ranked = atlas.index.layers.map((layer) => [rank(layer), layer]).filter(([order]) => order < 3);
    return ranked.sort((a, b) => a[0] - b[0] || a[1].number - b[1].number).map(([, layer]) => layer);
  }

  /** [layer, channel or undefined] pairs, the likeliest first. */
  function find(text) {
    const words = text.trim();
    if (!words) return [];
    const found = layersLike(words).map((layer) => [layer, undefined]);
    const split = /^(.*?)[\s/#:]*?(?:channel\s*)?(\d{1,9})$/i.exec(words);
    if (split) {
      const channel = Number(split[2]);
      const name = split[1].trim();
      const layers = name && /[\s/#:]\S*$/.test(words) ? layersLike(name) : /^\d+$/.test(words) && here ? [here] : [];
      found.push(...layers.filter((layer) => channel < layer.channels).map((layer) => [layer, channel]));
    }
    return found.slice(0, MOST);
  }

  function mark(to) {
    active = Math.max(0, Math.min(hits.length - 1, to));
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === active)));
    if (hits.length) {
      input.setAttribute("aria-activedescendant", `found-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function update() {
    hits = atlas.index ? find(input.value) : [];
    const items = hits.map(([layer, channel], at) => {
      const words = channel === undefined ? plural(layer.channels, "channel") : `channel ${channel}`;
      return h("li", { role: "option", id: `found-${at}`, "data-at": at }, h("b", null, layer.name), h("span", { class: "muted" }, words));
    });
    const none = input.value.trim() && !hits.length;
    list.replaceChildren(...(none ? [h("li", { class: "muted", role: "option", "aria-disabled": "true" }, "no such layer or channel")] : items));
    open(Boolean(hits.length || none));
    mark(0);
  }

  function open(shown) {
    list.hidden = !shown;
    input.setAttribute("aria-expanded", String(shown));
  }

  function go(at) {
    if (!hits[at]) return;
    const [layer, channel] = hits[at];
    input.value = "";
    update();
    input.blur();
    location.hash = link(layer, channel);
  }

  input.addEventListener("input", update);
  input.addEventListener("focus", () => {
    input.select();
    update();
  });
  input.addEventListener("blur", () => open(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) mark(active + step);
    else if (event.key === "Enter") go(active);
    else if (event.key === "Escape") input.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.addEventListener("pointerdown", (event) => {
    const item = event.target.closest("[data-at]");
    event.preventDefault(); // the focus stays in the input until the hit is opened
    if (item) go(Number(item.dataset.at));
  });

  return { find, focus: () => input.focus(), at: (layer) => { here = layer || null; } };
})();
