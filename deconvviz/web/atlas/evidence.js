"use strict";
// What is known of a channel's projections: badges with their explanations, and the switch to random weights.

const evidence = (() => {
  const { h, plural } = dom;
  const NEAR = 0.05; // insertion this near to that of a random ranking is called no better
  const ALIKE = [0.3, 0.7]; // as the library's verdict on selectivity has them

  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  const plain = (value) => value.toFixed(2).replace("-", "−");

  const UNJUDGED = {
    dead: "The channel never fires on these images, so there is no picture to judge.",
    empty: "There are no pictures of this channel to judge.",
    gain: "None of its strongest units could be judged: their pictures are blank, they fire no more on their images than without them, or they are no places in a map of channels.",
    alike: "None of its strongest units could be judged: their pictures or those of the other channels are blank, or there is no other channel.",
  };

  /** Insertion above chance: [text, kind, explanation]. */
  function gain([value, units]) {
    const [kind, words, means] = value > NEAR
      ? ["good", "above chance", "The picture shows pixels that make the unit fire."]
      : value < -NEAR
        ? ["bad", "below chance", "Random pixels make the unit fire sooner than those that the picture shows: it cannot be trusted."]
        : ["weak", "no better than chance", "The picture finds the pixels that make the unit fire no better than chance does."];
    return [`${signed(value)} ${words}`, kind,
      `${means} The pixels that it ranks first were put into an empty image, step by step, and then as many random ones. On average over all steps, on ${plural(units, "image")}, the unit fired ${plain(Math.abs(value))} of its full activation ${value < 0 ? "less" : "more"} with the picture’s.`];
  }

  /** Likeness to other channels: [text, kind, explanation]. */
  function alike([value, units]) {
    const [kind, words] = value > ALIKE[1] ? ["bad", "shows the image more than the unit"]
      : value > ALIKE[0] ? ["weak", "shows the unit in part"] : ["good", "shows the unit"];
    return [`alike others: ${plain(value)}`, kind,
      `The picture ${words}. Its rank correlation with the projections of other channels, at the same place of the same image, is ${plain(value)} on average over ${plural(units, "image")}: 1 is the same picture, 0 an unrelated one.`];
  }

  /** A badge that explains itself where it is pointed at or has the focus. */
  function badge(name, [text, kind, explanation]) {
    const id = `why-${name}`;
    const button = h("button", { type: "button", class: `badge ${kind}`, "aria-describedby": id, "data-badge": name }, text);
    button.addEventListener("click", () => button.focus()); // a tap does not in every browser
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      button.blur();
      event.stopPropagation();
    });
    return [button, h("span", { class: "why", role: "tooltip", id }, explanation)];
  }

  /** All badges of a channel; state: "dead", "always" or "". */
  function badges(data, channel, units, state) {
    const without = state === "dead" ? UNJUDGED.dead : units.length ? null : UNJUDGED.empty;
    const judged = (name, words, describe) => badge(name, data[name][channel]
      ? describe(data[name][channel]) : [`${words}: not judged`, "none", without || UNJUDGED[name]]);
    return [...judged("gain", "insertion", gain), ...judged("alike", "likeness", alike)];
  }

  // Random weights: as the address says, or as they were last switched.

  let random = false;

  function toggle() {
    random = !random;
  }

  /** Takes over what an address asks for. */
  function asked(query) {
    if (new URLSearchParams(query).get("weights") === "random") random = true;
  }

  /** The query of a channel's address. */
  const query = () => (random ? "weights=random" : "");

  return { badges, toggle, asked, query, get random() { return random; } };
})();
