"use strict";
// Light or dark, as the system has it or as chosen. Loaded before the page is painted, so that nothing flashes.

const theme = (() => {
  const KEY = "deconvviz-atlas-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off
    }
  }

  function current() {
    return document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  }

  function toggle() {
    const next = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // chosen for this page only
    }
  }

  if (["light", "dark"].includes(stored())) document.documentElement.dataset.theme = stored();
  return { current, toggle, system: dark };
})();
