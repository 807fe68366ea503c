/** The search box of the library: searches while the user types, with one request at a time. */

import { element, setAttribute } from "../ui/dom.js";

const OVERTAKE_MS = 150; // after that long, a search without an answer is overtaken by the next one

export class SearchBox {
  #isAsking = false;
  #timer = 0; // of a text that waits for the answer to an earlier one
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
    this.onSearch = handlers.onSearch;
    this.input.addEventListener("input", () => {
      if (!this.#isAsking) this.#ask();
      else if (!this.#timer) this.#timer = window.setTimeout(() => this.#ask(), OVERTAKE_MS);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        handlers.onLeave();
      }
    });
  }

  #ask() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.onSearch(this.input.value.trim());
  }

  /** @param {boolean} isBusy an answer is on its way */
  set isBusy(isBusy) {
    this.#isAsking = isBusy;
    if (!isBusy && this.#timer) this.#ask();
    else setAttribute(this.root, "data-busy", isBusy);
  }
}
