// Light or dark, as the system has it or as chosen.

const KEY = "deconvviz-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

export function current() {
  return document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
}

export function toggle() {
  const next = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // chosen for this page only
  }
}

/** Takes over what was chosen before. */
export function restore() {
  const chosen = stored();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

/**
 * A button that changes it.
 * @param {HTMLButtonElement} button
 */
export function attach(button) {
  const shown = () => button.setAttribute("aria-pressed", String(current() === "dark"));
  button.addEventListener("click", () => {
    toggle();
    shown();
  });
  dark.addEventListener("change", shown);
  shown();
}
