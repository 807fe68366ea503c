/** The search box of the library: searches while the user types. */

import { element, setAttribute } from "../ui/dom.js";

const DEBOUNCE_MS = 60;

export class SearchBox {
  input = element("input", {
    id: "search", type: "search", placeholder: "Words on the meme, or what they mean", maxlength: 200,
    autocomplete: "off", "aria-keyshortcuts": "/",
  });

  /**
   * @param {HTMLElement} root
   * @param {object} handlers
   * @param {(text: string) => void} handlers.onSearch
   * @param {() => void} handlers.onLeave Enter or ArrowDown: to the pictures
   */
  constructor(root, handlers) {
    this.root = root;
    const label = element("label", { class: "visually-hidden", for: "search" }, "Search the library");
    root.append(label, this.input);
    let debounceTimer = 0;
    this.input.addEventListener("input", () => {
      clearTimeout(debounceTimer);
      this.isBusy = true; // from the key on
      debounceTimer = window.setTimeout(() => handlers.onSearch(this.input.value.trim()), DEBOUNCE_MS);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        handlers.onLeave();
      }
    });
  }

  /** @param {boolean} isBusy an answer is on its way */
  set isBusy(isBusy) {
    setAttribute(this.root, "data-busy", isBusy);
  }
}
