"""Walks of random actions over the explorer's page, whose answers come late and in any order.

What a page shows in the end has to be what a page shows that is loaded anew at the same address.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

from tests.helpers.chromium import until
from tests.helpers.explorer_client import png

LATE = 0.25  # seconds by which a question or an answer is late, at most
PAUSES = (0, 0, 10, 40, 120, 300)  # milliseconds between two actions
LOADED = "document.querySelector('#image-name')?.textContent > ''"

# Every second question waits before it is sent, and every second answer before it is heard.
LATE_ANSWERS = """(() => {
  const real = window.fetch.bind(window);
  let drawn = SEED;
  const draw = () => { drawn = (drawn * 1103515245 + 12345) % 2147483648; return drawn / 2147483648; };
  const late = async options => {
    await new Promise(done => setTimeout(done, draw() < 0.5 ? 0 : LATE * draw()));
    if (options.signal && options.signal.aborted) throw new DOMException("aborted", "AbortError");
  };
  window.unanswered = 0;
  window.fetch = async (address, options = {}) => {
    window.unanswered += 1;
    try {
      await late(options);
      const answer = await real(address, options);
      await late(options);
      return answer;
    } finally { window.unanswered -= 1; }
  };
})()"""

AT_WORK = """window.unanswered > 0 || !document.querySelector("#working").hidden
  || /Measuring|Projecting|scanned:/.test(document.querySelector("#unit").textContent)"""

# All that can be seen, but for the place of the strip, which the address does not contain.
SEEN = """() => {
  const find = selector => document.querySelector(selector);
  const all = selector => [...document.querySelectorAll(selector)];
  const visible = one => one && one.offsetParent !== null;
  const text = selector => visible(find(selector)) ? find(selector).textContent : null;
  const box = selector => find(selector).hidden ? null : find(selector).style.cssText;
  const sources = one => [...one.querySelectorAll("img")].map(image => image.src);
  const map = one => [one.ariaLabel, one.ariaPressed, visible(one.firstChild) && one.firstChild.toDataURL()];
  const texts = ["#notice", "#status", "#working", "#image-name", "#classes", "#shift", "#size", "#unmoved", "#camera",
    "#layer-name", "#layer-facts", "#at", "#unit-title", "#unit", "#badges"];
  return {
    ...Object.fromEntries(texts.map(selector => [selector, text(selector)])),
    title: document.title, image: find("#stage .image").src, sort: find("#sort").value,
    frame: box("#stage .frame"), cross: box("#stage .cross"),
    boxes: all("#unit input").map(one => one.checked),
    own: all("#own button").map(one => [one.dataset.image, one.ariaPressed]),
    layers: all("#layers li").map(one => [one.textContent, one.className, one.querySelector("i").style.width]),
    maps: all("#maps button").map(map),
    pictures: all("#unit img").map(one => [one.alt, one.src]), values: all("#values svg").map(one => one.outerHTML),
    pins: all("#pins li").map(one => [one.textContent, one.querySelector("input").checked, ...sources(one)]),
  };
}"""

DROP = """([name, content]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(content), char => char.charCodeAt(0))], name, {type: "image/png"}));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


class Walk:
    """A page, and what is done there at random.

    Attributes:
        done: The actions, in words.
    """

    def __init__(self, page: Any, seed: int) -> None:
        self.page, self.random = page, random.Random(seed)
        self.done: list[str] = []
        page.add_init_script(LATE_ANSWERS.replace("SEED", str(7919 * seed + 1)).replace("LATE", str(1000 * LATE)))

    def begin(self, address: str) -> None:
        """Open the page, with enough addresses behind it not to leave it by going back."""
        self.page.goto(address)
        for number in range(12):
            self.page.evaluate(f"location.hash = 'image=data-{number}&layer=3&channel={number % 6}'")
        settled(self.page)

    def go(self, actions: int) -> None:
        """Do so many actions at random."""
        table = self._table()
        for _ in range(actions):
            (weighed,) = self.random.choices(list(table), [weight for weight, _ in table])
            pause = self.random.choice(PAUSES)
            self.done.append(f"{table[weighed]()}, {pause} ms")
            self.page.wait_for_timeout(pause)

    def _table(self) -> dict[tuple[int, str], Callable[[], str]]:
        """What can be done, by how often it is."""
        clicked = {
            "#maps button": 6,
            "#layers button": 3,
            "#strip button": 3,
            "#whole": 3,
            "#random": 2,
            "#seed": 2,
            "#pin": 3,
            "#pins button": 2,
            "#pins input": 1,
            "#at button": 2,
            "#classes button": 2,
            "[data-move], [data-size]": 2,
            "#unmoved": 1,
            "#earlier, #later": 1,
            "#strongest button": 2,
            "#inputs button": 1,
            "#own button": 1,
        }
        table: dict[tuple[int, str], Callable[[], str]] = {
            (weight, selector): lambda selector=selector: self._click(selector) for selector, weight in clicked.items()
        }
        table[3, "back"] = lambda: self._evaluate("history.back()")
        table[2, "forward"] = lambda: self._evaluate("history.forward()")
        table[3, "key"] = self._press
        table[2, "sort"] = self._sort
        table[3, "stage"] = self._on_the_stage
        table[1, "drop"] = self._drop
        return table

    def _evaluate(self, script: str, argument: Any = None) -> str:
        self.page.evaluate(script, argument)
        return script

    def _click(self, selector: str) -> str:
        script = """([selector, share]) => {
          const usable = one => one.offsetParent !== null && !one.disabled;
          const all = [...document.querySelectorAll(selector)].filter(usable);
          if (all.length) all[Math.floor(share * all.length)].click();
          return all.length ? selector : `no ${selector}`;
        }"""
        return str(self.page.evaluate(script, [selector, self.random.random()]))

    def _press(self) -> str:
        key = self.random.choice("pw[],.")
        event = f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true, cancelable: true}})"
        return self._evaluate(f"document.body.dispatchEvent({event})")

    def _sort(self) -> str:
        sort = self.random.choice(("strength", "number", "selective"))
        script = "one.value = sort; one.dispatchEvent(new Event('change'));"
        return self._evaluate(f"sort => {{ const one = document.querySelector('#sort'); {script} }}", sort)

    def _on_the_stage(self) -> str:
        """A click or a drag."""
        box, mouse = self.page.locator("#stage").bounding_box(), self.page.mouse
        places = [
            (box["x"] + self.random.randint(20, 90), box["y"] + self.random.randint(20, 90))
            for _ in range(self.random.choice((1, 3)))
        ]
        mouse.move(*places[0])
        mouse.down()
        for place in places[1:]:
            mouse.move(*place)
            self.page.wait_for_timeout(self.random.choice((0, 120)))
        mouse.up()
        return "drag" if places[1:] else "place"

    def _drop(self) -> str:
        content = png(seed=self.random.randint(0, 3))
        self.page.evaluate(DROP, ["mine.png", base64.b64encode(content).decode()])
        return "drop"


def settled(page: Any) -> dict[str, Any]:
    """What a page shows when nothing more comes."""
    page.bring_to_front()  # pages behind draw nothing
    until(page, LOADED)
    quiet = 0
    for _ in range(600):
        page.wait_for_timeout(25)
        quiet = 0 if page.evaluate(AT_WORK) else quiet + 1
        if quiet > 12:
            return dict(page.evaluate(SEEN))
    raise AssertionError("the page does not settle")
