/** Takes the pictures that the member chooses, photographs, drops or pastes. */

import { filesFrom } from "../ui/dropped_files.js";
import { byId, element } from "../ui/dom.js";

/**
 * Call `onFiles` with what is chosen by the Add button, or dropped or pasted anywhere in the window.
 * @param {(files: File[]) => void} onFiles
 */
export function acceptFiles(onFiles) {
  // Without `capture` a phone offers its camera roll, its camera and its files.
  const picker = element("input", {
    type: "file", multiple: true, accept: "image/*,video/*", hidden: true, id: "picker",
  });
  picker.addEventListener("change", () => {
    onFiles([...(picker.files ?? [])]);
    picker.value = ""; // so that choosing the same file again fires "change"
  });
  document.body.append(picker);
  byId("add").addEventListener("click", () => picker.click());
  addEventListener("dragover", (event) => {
    event.preventDefault(); // without this the browser opens the dropped file
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer) void filesFrom(event.dataTransfer).then(onFiles);
  });
  addEventListener("paste", (event) => onFiles([...(event.clipboardData?.files ?? [])]));
}
