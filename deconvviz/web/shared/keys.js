// Keys that work everywhere on a page.

import { byId } from "./elements.js";

/**
 * Whether a key is the browser's, a dialog's or that of a field in which one writes.
 * @param {KeyboardEvent} event
 */
export function isTaken(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return true;
  return /** @type {HTMLElement} */ (event.target).matches("input:not([type=checkbox]), select, textarea");
}

/** Opens the list of keys. */
export const showHelp = () => byId("help").showModal();

/**
 * The page's own keys, with "/" for the search and "?" for the list of keys.
 * @param {(event: KeyboardEvent) => boolean} own does what a key means; returns whether it means anything
 */
export function attach(own) {
  byId("keys").addEventListener("click", showHelp);
  document.addEventListener("keydown", (event) => {
    if (isTaken(event)) return;
    if (event.key === "/") byId("search").focus();
    else if (event.key === "?") showHelp();
    else if (!own(event)) return;
    event.preventDefault();
  });
}
