// Images of one's own: chosen, pasted, or dropped anywhere on the page.

import { byId } from "../shared/elements.js";

/** @param {(file: File, name: string) => void} give */
export function attach(give) {
  const chosen = byId("file");
  chosen.addEventListener("change", () => {
    const [file] = chosen.files;
    if (file) give(file, file.name);
    chosen.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData && [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) give(file, file.name || "pasted");
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const file = event.dataTransfer && event.dataTransfer.files[0];
    if (file) give(file, file.name);
  });
}
