"use strict";
// Pairs of channels of one layer: filtered by what became of them, and sorted.
(() => {
  const { rows } = JSON.parse(document.getElementById("data").textContent);
  if (!rows) return; // the page of all layers
  const byId = (id) => document.getElementById(id);
  const signs = { kept: "=", changed: "~", vanished: "−", appeared: "+", unclear: "?", "silent in both": "·" };
  const hidden = new Set();

  function add(parent, tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  }

  const digits = (value, count) => (value === null ? "–" : value.toFixed(count).replace("-", "−"));
  const percent = (value) => `${Math.round(100 * value)} %`;

  const pictured = (row) => row.pictures.some(Boolean);

  function pictures(parent, source, name, number, fires) {
    const said = `${name}, channel ${number}: fires on ${percent(fires)} of the images`;
    if (!source) return void add(parent, "p", said);
    const figure = add(parent, "figure");
    const image = add(figure, "img");
    image.src = source;
    image.alt = `${name}, channel ${number}: patches and projections`;
    image.loading = "lazy";
    add(figure, "figcaption", said);
  }

  function card(row) {
    const item = document.createElement("li");
    const head = add(item, "div", undefined, "head");
    const title = row.b === null ? `A ${row.a}` : row.a === null ? `B ${row.b}` : `A ${row.a} and B ${row.b}`;
    add(head, "h2", title);
    add(head, "span", `${signs[row.state]} ${row.state}`, `state ${row.state.split(" ")[0]}`);
    const both = add(item, "div", undefined, "both");
    if (row.a !== null) pictures(both, row.pictures[0], "A", row.a, row.fires[0]);
    if (row.b !== null) pictures(both, row.pictures[1], "B", row.b, row.fires[1]);
    const facts = add(item, "dl");
    const fact = (name, value) => {
      const line = add(facts, "div");
      add(line, "dt", name);
      add(line, "dd", value);
    };
    if (row.a !== null && row.b !== null && row.correlation !== null) {
      fact("correlation", `${digits(row.correlation, 2)} (${digits(row.low, 2)} to ${digits(row.high, 2)})`);
      fact("with untrained networks", digits(row.untrained, 2));
      if (row.likeness !== null) fact("likeness of pictures", digits(row.likeness, 2));
    } else if (row.correlation !== null) {
      fact("highest correlation with any channel", digits(row.correlation, 2));
    }
    return item;
  }

  const orders = {
    down: (one, other) => (other.correlation ?? -2) - (one.correlation ?? -2),
    up: (one, other) => (one.correlation ?? 2) - (other.correlation ?? 2),
    a: (one, other) => (one.a ?? Infinity) - (other.a ?? Infinity) || one.b - other.b,
    b: (one, other) => (one.b ?? Infinity) - (other.b ?? Infinity) || one.a - other.a,
    pictures: (one, other) => (one.likeness ?? 2) - (other.likeness ?? 2),
  };

  function show() {
    const shown = rows.filter((row) => !hidden.has(row.state)).sort(orders[byId("order").value]);
    byId("count").textContent = `${shown.length} of ${rows.length} shown`;
    byId("pairs").replaceChildren(...shown.filter(pictured).map(card));
    byId("others").replaceChildren(...shown.filter((row) => !pictured(row)).map(card));
    byId("without").hidden = !byId("others").children.length;
  }

  for (const state of Object.keys(signs)) {
    const count = rows.filter((row) => row.state === state).length;
    if (!count) continue;
    const label = add(byId("states"), "label");
    const box = add(label, "input");
    box.type = "checkbox";
    box.checked = true;
    label.append(` ${signs[state]} ${state} (${count})`);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(state); else hidden.add(state);
      show();
    });
  }
  byId("order").addEventListener("change", show);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  show();
})();
