/** Takes the files that a person chooses, photographs, drops or pastes. */

import { byId, element } from "./dom.js";
import { filesFrom } from "./dropped_files.js";

/** @typedef {(files: File[]) => void} OnFiles */

/**
 * Create a hidden file input that calls `onFiles` with what is chosen; its `click` opens the dialog of the browser.
 * @param {Record<string, string | boolean>} attributes
 * @param {OnFiles} onFiles
 */
export function createPicker(attributes, onFiles) {
  const picker = element("input", { type: "file", multiple: true, hidden: true, ...attributes });
  picker.addEventListener("change", () => {
    onFiles([...(picker.files ?? [])]);
    picker.value = ""; // so that choosing the same file again fires "change"
  });
  document.body.append(picker);
  return picker;
}

/**
 * Call `onFiles` with what is chosen by the Add button, or dropped or pasted anywhere in the window.
 * @param {OnFiles} onFiles empty for a drop of folders without files
 * @returns {HTMLInputElement} the picker behind the Add button
 */
export function acceptFiles(onFiles) {
  // Without `capture` a phone offers its camera roll, its camera and its files.
  const picker = createPicker({ id: "picker", accept: "image/*,video/*" }, onFiles);
  byId("add").addEventListener("click", () => picker.click());
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // without this the browser opens the dropped file
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    void filesFrom(event.dataTransfer).then(onFiles);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) onFiles(files);
  });
  return picker;
}
