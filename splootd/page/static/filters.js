/** What of the queue is shown: a state, a folder, words in the names of files. */

import { byId, element, put, write } from "./element.js";
import { roving } from "./keys.js";
import { isolated } from "./names.js";
import { STATES } from "./protocol.js";
import { number } from "./words.js";

const TYPED_MS = 200;

/** @typedef {import("./feed.js").Choice} Choice */

export class Filters {
  /** @type {Choice} */
  #choice = { state: null, folder: null, text: null };
  #folders = byId("folder");
  #text = /** @type {HTMLInputElement} */ (byId("text"));
  /** @type {Map<string, HTMLElement>} */
  #counts = new Map();
  #typed = 0;

  /** @param {(choice: Choice) => void} choose */
  constructor(choose) {
    this.choose = choose;
    const group = byId("states");
    for (const state of /** @type {const} */ ([null, ...STATES])) group.append(this.#chip(state));
    roving(group);
    this.#folders.addEventListener("change", () => this.#set({ folder: this.#select.value || null }));
    this.#text.addEventListener("input", () => {
      clearTimeout(this.#typed);
      this.#typed = window.setTimeout(() => this.#set({}), TYPED_MS);
    });
  }

  get #select() {
    return /** @type {HTMLSelectElement} */ (this.#folders);
  }

  /** @param {import("./protocol.js").State | null} state */
  #chip(state) {
    const name = state ?? "all";
    const shown = element("span", { class: "count" });
    this.#counts.set(name, shown);
    const isAll = state === null;
    const attributes = { type: "button", role: "radio", "aria-checked": String(isAll), "data-state": name };
    const chip = element("button", attributes, name, " ", shown);
    chip.addEventListener("click", () => this.#set({ state }));
    return chip;
  }

  /** @param {Partial<Choice>} part with what has been typed, however lately */
  #set(part) {
    clearTimeout(this.#typed);
    this.choose({ ...this.#choice, text: this.#text.value.trim() || null, ...part });
  }

  /**
   * Show what is chosen, by whomever.
   * @param {Choice} choice
   */
  show(choice) {
    this.#choice = choice;
    for (const chip of byId("states").children) {
      put(chip, "aria-checked", String(chip.getAttribute("data-state") === (choice.state ?? "all")));
    }
    this.#select.value = choice.folder ?? "";
    if (document.activeElement !== this.#text) this.#text.value = choice.text ?? "";
  }

  /** @param {import("./protocol.js").Status} now */
  counted({ items, folders }) {
    for (const [name, shown] of this.#counts) {
      const of = items[/** @type {keyof typeof items} */ (name === "all" ? "total" : name)];
      write(shown, number(of));
      put(/** @type {Element} */ (shown.parentElement), "data-none", of === 0);
    }
    const paths = folders.map(({ path }) => path);
    if (paths.join("\0") === [...this.#select.options].slice(1).map(({ value }) => value).join("\0")) return;
    this.#select.replaceChildren(
      element("option", { value: "" }, "every folder"),
      ...paths.map((path) => element("option", { value: path }, isolated(path))),
    );
    this.#select.value = this.#choice.folder ?? "";
    this.#folders.hidden = paths.length === 0;
  }
}
