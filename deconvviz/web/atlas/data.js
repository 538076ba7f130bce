"use strict";
// The atlas's data. A page opened from the disk may not read files, but it may load scripts: each file of data is a
// script that calls `atlas.receive` with its key.

const atlas = (() => {
  const root = document.currentScript.src.replace(/assets\/data\.js$/, ""); // elsewhere while the atlas is built anew
  const arrived = new Map();
  const asked = new Map();

  /** What a file of data calls. */
  function receive(key, value) {
    arrived.set(key, value);
  }

  /** A promise of the data of `data/KEY.js`; it fails where the file is missing or broken. */
  function load(key) {
    if (!asked.has(key)) {
      asked.set(key, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const failed = () => {
          asked.delete(key);
          reject(new Error(key === "unfinished"
            ? "This atlas is incomplete: building it was interrupted or is still going on. Build it again to repair it."
            : `A part of this atlas is missing (data/${key}.js). Build it again to repair it.`));
        };
        script.src = `${root}data/${key}.js`;
        script.onerror = failed;
        script.onload = () => (arrived.has(key) ? resolve(arrived.get(key)) : failed());
        script.addEventListener("load", () => script.remove());
        document.head.append(script);
      }));
    }
    return asked.get(key);
  }

  let index = null;
  const byName = new Map();

  /** Loads the index; everything below needs it. */
  async function open() {
    index = await load("index").catch(() => load("unfinished")); // the second one while the atlas is being built
    index.layers.forEach((layer, number) => {
      layer.number = number;
      layer.empty = new Set(layer.empty);
      byName.set(layer.name, layer);
    });
    return index;
  }

  /** A channel's units, histogram and inputs. */
  async function details(layer, channel) {
    const block = Math.floor(channel / layer.block);
    return (await load(`${layer.number}-${block}`))[channel % layer.block];
  }

  // Where a picture lies: the file and its size, and the picture's place in it, all in the file's pixels.

  function inSheet(file, first, count, total, height, width) {
    const cells = Math.min(index.across ** 2, total - first);
    const columns = Math.min(index.across, cells);
    const at = count - first;
    return {
      file,
      sheet: [Math.ceil(cells / columns) * (height + index.gutter), columns * (width + index.gutter)],
      at: [Math.floor(at / columns) * (height + index.gutter), (at % columns) * (width + index.gutter)],
      size: [height, width],
    };
  }

  /** A channel's mosaic in the grid; kind: "t" projections, "p" patches. */
  function cell(layer, channel, kind) {
    const sheet = Math.floor(channel / index.across ** 2);
    const file = `${root}sheets/${layer.number}-${kind}${sheet}.webp`;
    return inSheet(file, sheet * index.across ** 2, channel, layer.channels, layer.cell[0], layer.cell[1]);
  }

  /** A unit's patch (part 0), projection (part 1) or projection from random weights (part 2), which has its own file. */
  function tile(layer, channel, unit, part) {
    const block = Math.floor(channel / layer.block);
    const channels = Math.min(layer.block, layer.channels - block * layer.block);
    const [height, width] = layer.tile;
    const [down, across] = [height + index.gutter, width + index.gutter];
    const [name, rows, row] = part === 2 ? [`r${block}`, 1, 0] : [block, 2, part];
    return {
      file: `${root}sheets/${layer.number}-${name}.webp`,
      sheet: [rows * channels * down, index.k * across + index.gutter],
      at: [(rows * (channel % layer.block) + row) * down, unit * across],
      size: [height, width],
    };
  }

  /** A full image, by its number in the dataset; numbers: `load("images")`, ascending. */
  function picture(numbers, number) {
    let low = 0;
    let high = numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[middle] < number) low = middle + 1;
      else high = middle;
    }
    const sheet = Math.floor(low / index.across ** 2);
    const [height, width] = index.picture;
    return inSheet(`${root}images/${sheet}.webp`, sheet * index.across ** 2, low, numbers.length, height, width);
  }

  return { receive, load, open, details, cell, tile, picture, layer: (name) => byName.get(name), get index() { return index; } };
})();
