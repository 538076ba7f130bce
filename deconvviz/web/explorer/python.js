// The lines of Python that make the picture that is shown.

import { byId } from "../shared/elements.js";
import { ask } from "./server.js";

/** @param {any} fields of a question about the unit */
export async function show(fields) {
  const { lines } = await ask("python", fields);
  byId("code").textContent = lines;
  byId("copied").textContent = "";
  if (!byId("lines").open) byId("lines").showModal();
}

export function attach() {
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("code").textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      document.getSelection()?.selectAllChildren(byId("code"));
      byId("copied").textContent = "The browser lets no page copy here; the lines are selected for you to copy.";
    }
  });
}
