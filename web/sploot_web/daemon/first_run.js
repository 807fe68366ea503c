/** What an empty library shows: the place to drop pictures, and the other ways to add them. */

import { button, element, withCode } from "../ui/dom.js";
import { chooseFolder } from "./file_drop.js";

/**
 * Create the element; the whole window accepts the drop.
 * @param {HTMLInputElement} picker
 */
export function createFirstRun(picker) {
  const watching = "To add the new pictures of a folder by themselves, run `sploot add FOLDER`, or watch it in the ";
  return element("div", { class: "first-run" },
    element("h2", {}, "Drop pictures or folders here"),
    element("p", {}, "Or paste a picture from the clipboard."),
    element("div", { class: "actions" },
      button("Choose a folder", chooseFolder, { class: "primary" }),
      button("Choose pictures", () => picker.click())),
    element("p", { class: "dim" }, ...withCode(watching), element("a", { href: "#settings" }, "settings"), "."));
}
