"use strict";
// Elements, numbers and links. All text goes in as text, never as markup.

const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  /** An element with attributes and children, which are elements or text. */
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

  /** The same for drawings. */
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  /** Three digits, in the shortest of the usual ways. */
  function number(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2).replace("-", "−").replace("e+", "e");
    return Number(value.toPrecision(3)).toString().replace("-", "−");
  }

  function percent(share) {
    if (share === null) return "–";
    if (share > 0 && share < 0.0001) return "< 0.01 %";
    const digits = share >= 0.1 || share === 0 ? 0 : share >= 0.01 ? 1 : 2;
    return share < 1 && share > 0.99 ? `${(100 * Math.floor(share * 1e4) / 1e4).toFixed(2)} %` : `${(100 * share).toFixed(digits)} %`;
  }

  const count = (value) => value.toLocaleString("en");
  const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;
  const by = (shape) => shape.map((side) => number(side)).join(" × ");

  /** What a channel's state is called, and what that means (the same in scans, in the atlas and in `diagnose`). */
  const STATES = {
    dead: { name: "dead", title: "Behind its rectifier, above zero at no position of any image; without a rectifier, constant" },
    always: { name: "always on", title: "Behind its rectifier, above zero at every position of every image" },
  };

  /** A name that may go on in a new line after its dots and slashes. */
  const breakable = (name) => name.split(/(?<=[./_])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

  /** The link to a layer's grid or to a channel. */
  function link(layer, channel, query) {
    const path = `#/${encodeURIComponent(layer.name)}`;
    return (channel === undefined ? path : `${path}/${channel}`) + (query ? `?${query}` : "");
  }

  const percentage = (part) => `${Number((100 * part).toFixed(4))}%`;

  /** Shows a part of a sheet (see data.js) as an element's background. */
  function paint(element, part) {
    const [[height, width], [y, x], [tall, wide]] = [part.sheet, part.at, part.size];
    const style = element.style;
    style.backgroundImage = `url("${part.file}")`;
    style.backgroundSize = `${percentage(width / wide)} ${percentage(height / tall)}`;
    style.backgroundPosition = `${percentage(width > wide ? x / (width - wide) : 0)} ${percentage(height > tall ? y / (height - tall) : 0)}`;
  }

  /** A part of a sheet as an image with a text in its place; sharp: pixels stay squares when enlarged. */
  function image(part, alt, sharp) {
    const [[height, width], [y, x], [tall, wide]] = [part.sheet, part.at, part.size];
    const picture = h("img", { src: part.file, alt, loading: "lazy", decoding: "async", draggable: "false" });
    Object.assign(picture.style, {
      width: percentage(width / wide), height: percentage(height / tall), left: percentage(-x / wide), top: percentage(-y / tall),
    });
    const frame = h("span", { class: sharp ? "tile sharp" : "tile" }, picture);
    frame.style.aspectRatio = `${wide} / ${tall}`;
    return frame;
  }

  /** A channel's mosaic, painted when it comes near the view. */
  function mosaic(layer, channel, kind) {
    if (layer.empty.has(channel)) return h("span", { class: "mosaic empty" });
    const element = h("span", { class: "mosaic" });
    element.style.aspectRatio = `${layer.cell[1]} / ${layer.cell[0]}`;
    whenNear(element, () => paint(element, atlas.cell(layer, channel, kind)));
    return element;
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      actions.get(entry.target)();
      actions.delete(entry.target);
    }
  }, { rootMargin: "200px" });
  const actions = new WeakMap();

  function whenNear(element, action) {
    actions.set(element, action);
    near.observe(element);
  }

  /** Facts about a layer, as [term, text] pairs. */
  function facts(layer) {
    const kind = { cat: "concatenation" }[layer.kind] || layer.kind;
    const pairs = [["kind", kind], ["shape", by(layer.shape)]];
    pairs.push(["receptive field", layer.field && layer.field.length ? `${by(layer.field)} pixels` : "the whole input"]);
    if (layer.stride && layer.stride.length) pairs.push(["stride", `${by(layer.stride)} pixels`]);
    if (layer.linearised.length) pairs.push(["linearised", layer.linearised.join(", ")]);
    if (layer.detached.length) pairs.push(["passed, though detached", layer.detached.join(", ")]);
    return pairs;
  }

  const pairs = (list, className) => h("dl", { class: className }, list.map(([term, text]) => h("div", null, h("dt", null, term), h("dd", null, text))));

  return { h, s, STATES, number, percent, count, plural, by, breakable, link, paint, image, mosaic, whenNear, facts, pairs };
})();
