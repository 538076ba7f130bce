// All layers, from the input up.

import { breakable, by, count, h, pairs, plural } from "../shared/elements.js";
import * as search from "../shared/search.js";
import { atlas } from "./data.js";
import { patchesFirst, VERDICTS } from "./evidence.js";
import { channelCount, facts, link, mosaic, STATES } from "./parts.js";

/** @param {import("./data.js").Layer} layer */
function card(layer) {
  const badges = [];
  for (const [kind, { name, title }] of Object.entries(STATES)) {
    const found = layer[/** @type {"dead" | "always"} */ (kind)];
    if (found) badges.push(h("span", { class: `badge ${kind}`, title }, `${count(found)} ${name}`));
  }
  const cover = h("span", { class: "cover", "aria-hidden": "true" }, layer.cover.map((channel) => mosaic(layer, channel, patchesFirst(layer) ? "p" : "t")));
  const title = h("h2", null, h("a", { href: link(layer), class: "cover-link" }, breakable(layer.name)));
  const words = h("p", { class: "channels" }, channelCount(layer), badges.length ? " " : "", badges);
  return h("li", { class: "card" }, h("div", { class: "card-text" }, title, words, counts(layer), pairs(facts(layer), "facts")), cover);
}

/** How many channels have which verdict. @param {import("./data.js").Layer} layer */
function counts({ verdicts }) {
  if (!atlas.index.evidence || !verdicts) return null;
  return h("p", { class: "verdicts" }, ["specific", "partly", "not"].map((verdict) => {
    const { sign, name, kind } = VERDICTS[verdict];
    return h("span", { class: `sign ${kind}` }, h("span", { "aria-hidden": "true" }, `${sign} `), `${count(verdicts[verdict])} ${name}`);
  }));
}

/** @param {[string, string][]} files */
function broken(files) {
  if (!files.length) return null;
  return h("details", { class: "broken" },
    h("summary", null, `${plural(files.length, "file")} of the dataset could not be read`),
    h("ul", null, files.map(([name, reason]) => h("li", null, h("code", null, name), `: ${reason}`))));
}

/** @param {string[] | undefined} names */
function unfinished(names) {
  return names && h("p", { class: "notice", role: "status" }, `This atlas is not finished. Still to be built: ${names.join(", ") || "the last files"}. Reload the page to see what is new. If the build was stopped, the same call continues it.`);
}

/** @returns {import("./main.js").View} */
export function view() {
  const { title, model, dataset, images, k, style, input, layers, broken: files, provenance, unfinished: missing, random, version } = atlas.index;
  const total = (/** @type {(layer: any) => number} */ of) => layers.reduce((/** @type {number} */ sum, /** @type {any} */ layer) => sum + of(layer), 0);
  const all = total((layer) => layer.channels);
  const pictured = all - total((layer) => layer.empty.size);
  const element = h("div", { class: "overview" },
    h("h1", { tabindex: "-1" }, title),
    h("p", { class: "lead" }, `What ${pictured < all ? `${count(pictured)} of ${plural(all, "channel")}` : plural(all, "channel")} of ${model} respond to: for each channel, the ${k === 1 ? "strongest unit" : `${k} strongest units`} in ${plural(images, "image")} of ${dataset}, and their ${style} projections to the input of ${by(input.slice(-2))} pixels.`),
    random ? h("p", { class: "notice warning", role: "status" }, h("b", null, "Random weights. "), "This network was not trained, so its channels show what the architecture does and nothing that was learnt.") : null,
    unfinished(missing),
    broken(files),
    h("ol", { class: "layers" }, layers.map(card)),
    h("details", { class: "provenance" }, h("summary", null, "How this atlas was made"),
      pairs([["model", model], ["dataset", dataset], ["style", style], ...Object.entries(provenance)], "facts")),
    h("p", { class: "made muted" }, "Made with deconvviz", version ? ` ${version}` : ""));

  /** @type {() => HTMLAnchorElement[]} */
  const links = () => [...element.querySelectorAll(/** @type {"a"} */ (".cover-link"))];

  /** @param {number} step */
  function move(step) {
    const all = links();
    const at = all.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
    if (next) next.focus();
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step === undefined || event.shiftKey) return false;
    move(step);
    return true;
  }

  /** @param {import("./main.js").Route | null} from */
  function arrive(from) {
    const address = from && from.layer && link(from.layer);
    const last = links().find((one) => one.getAttribute("href") === address);
    if (last && !search.isUsed()) last.focus({ preventScroll: true });
  }

  return { element, title: null, key, arrive };
}
