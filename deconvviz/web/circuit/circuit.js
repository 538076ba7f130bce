"use strict";
// A circuit: one channel with its feeders; choosing a feeder goes down to it, the way at the top goes back up.
(() => {
  const { units } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const key = (unit) => `${unit.layer} ${unit.channel}`;
  const known = new Map(units.map((unit) => [key(unit), unit]));
  const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(Math.abs(share) < 0.0995 ? 1 : 0).replace(/^-0\.0$/, "0.0").replace("-", "−")} %`);
  const digits = (value) => (Math.abs(value) >= 1e6 ? value.toExponential(2) : Number(value.toPrecision(3)).toLocaleString("en"));
  const spread = (one) => (one.low === null ? "" : ` (${percent(one.low)} to ${percent(one.high)})`);
  let way = [key(units[0])];

  function add(parent, tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  }

  function shape(parent, tag, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    if (text !== undefined) element.textContent = text;
    parent.append(element);
  }

  function picture(parent, source, alt) {
    if (!source) return;
    const image = add(parent, "img");
    image.src = source;
    image.alt = alt;
  }

  function feeder(list, one, widest) {
    const item = add(list, "li"), below = known.get(key(one));
    const card = add(item, below ? "button" : "div", undefined, "card");
    const word = one.adds.mean < 0 ? "takes" : "adds";
    add(card, "b", key(one));
    const pictures = add(card, "span", undefined, "pictures");
    if (below) {
      card.type = "button";
      picture(pictures, below.projections, `Projections of ${key(one)}`);
      picture(pictures, below.patches, `Patches of ${key(one)}`);
      card.addEventListener("click", () => go([...way, key(one)]));
    } else add(pictures, "span", "pixels of the image", "muted small");
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    bar.setAttribute("viewBox", "0 0 100 1");
    bar.setAttribute("preserveAspectRatio", "none");
    bar.setAttribute("aria-hidden", "true");
    shape(bar, "rect", { class: word, width: (100 * Math.abs(one.adds.mean)) / widest, height: 1 });
    add(card, "span", undefined, "bar").append(bar);
    const size = (share) => percent(share === null ? null : Math.abs(share));
    add(card, "span", `${word} ${size(one.adds.mean)}${spread(one.adds)}`, "small");
    const lost = one["lost without it"];
    if (lost.mean === null) return;
    add(card, "br");
    add(card, "span", `without it ${lost.mean < 0 ? "gains" : "loses"} ${size(lost.mean)}`, "muted small");
  }

  function curve(unit) {
    const drawing = byId("curve"), steps = unit.removal;
    drawing.replaceChildren();
    const ends = steps.flatMap((one) => [one.lost, one.random].flatMap((part) => [part.mean, part.low ?? part.mean, part.high ?? part.mean]));
    const low = Math.min(0, ...ends), high = Math.max(0.01, ...ends);
    const x = (at) => 46 + (steps.length > 1 ? (at * 380) / (steps.length - 1) : 190);
    const y = (share) => 190 - (176 * (share - low)) / (high - low);
    [0, high].forEach((share) => {
      shape(drawing, "line", { class: "axis", x1: 46, x2: 430, y1: y(share), y2: y(share) });
      shape(drawing, "text", { x: 40, y: y(share) + 4, "text-anchor": "end" }, percent(share));
    });
    steps.forEach((one, at) => shape(drawing, "text", { x: x(at), y: 208, "text-anchor": "middle" }, one.removed));
    shape(drawing, "text", { x: 236, y: 226, "text-anchor": "middle" }, "channels removed together");
    [["random", "random"], ["first", "lost"]].forEach(([name, part]) => {
      const line = (end) => steps.map((one, at) => `${x(at)},${y(one[part][end] ?? one[part].mean)}`);
      shape(drawing, "polygon", { class: `${name}-area`, points: [...line("low"), ...line("high").reverse()].join(" ") });
      shape(drawing, "polyline", { class: name, points: line("mean").join(" ") });
      steps.forEach((one, at) => shape(drawing, "circle", { class: name, cx: x(at), cy: y(one[part].mean), r: 3 }));
    });
    shape(drawing, "text", { class: "first-word", x: 52, y: 24 }, "the first that add");
    shape(drawing, "text", { class: "random-word", x: 52, y: 40 }, `random ones of ${unit.candidates}`);
    const last = steps[steps.length - 1];
    byId("said").textContent = `The share of the activation that is lost on other images: without the first ${last.removed} feeders `
      + `${percent(last.lost.mean)}${spread(last.lost)}, without ${last.removed} random channels ${percent(last.random.mean)}${spread(last.random)}.`;
  }

  function show(next) {
    way = next;
    const unit = known.get(way[way.length - 1]);
    byId("verdict").hidden = way.length > 1;
    byId("way").replaceChildren();
    way.forEach((name, at) => {
      const item = add(byId("way"), "li"), step = add(item, at < way.length - 1 ? "button" : "span", name);
      if (at < way.length - 1) {
        step.type = "button";
        step.addEventListener("click", () => go(way.slice(0, at + 1)));
      } else step.setAttribute("aria-current", "page");
    });
    byId("way").hidden = way.length < 2;
    byId("name").textContent = `${unit.layer}, channel ${unit.channel}`;
    byId("facts").textContent = unit.activation.images ? `Mean activation of its strongest units: ${digits(unit.activation.mean)}` : "It is above zero on none of these images.";
    ["projections", "patches"].forEach((name) => {
      byId(name).hidden = !unit[name];
      if (unit[name]) byId(name).querySelector("img").src = unit[name];
      byId(name).querySelector("img").alt = `${name} of ${key(unit)}`;
    });
    byId("feeders").replaceChildren();
    const widest = Math.max(...unit.feeders.map((one) => Math.abs(one.adds.mean)), 1e-9);
    unit.feeders.forEach((one) => feeder(byId("feeders"), one, widest));
    byId("below").querySelector("p").hidden = !unit.feeders.length;
    byId("biases").textContent = unit.followed
      ? `Biases add ${percent(unit.biases.mean)}${unit.candidates > unit.feeders.length ? `, the other ${unit.candidates - unit.feeders.length} channels ${percent(unit.others)}` : ""}.`
      : "What feeds this channel was not looked for: give a greater depth.";
    byId("biases").hidden = unit.followed && !unit.feeders.length;
    byId("removal").hidden = !unit.removal.length;
    if (unit.removal.length) curve(unit);
    window.scrollTo(0, 0);
  }

  function go(next) {
    const address = `#${next.map(encodeURIComponent).join("/")}`;
    if (location.hash !== address) history.pushState(null, "", address);
    show(next);
    byId("name").focus();
  }

  /** The way in the address, as far as it is one. */
  function addressed() {
    let names = [];
    try {
      names = location.hash.slice(1).split("/").map(decodeURIComponent);
    } catch { /* an address that somebody has cut off */ }
    return names.length && names[0] === key(units[0]) && names.every((name) => known.has(name)) ? names : [key(units[0])];
  }

  window.addEventListener("popstate", () => {
    show(addressed());
    byId("name").focus();
  });
  show(addressed());
})();
