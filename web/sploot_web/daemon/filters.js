/** The filter bar of the queue: state, folder, text in file names. */

import { byId, element, setAttribute, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { formatNumber } from "../ui/format.js";
import { STATES, stateLabel } from "../ui/states.js";
import { makeRoving } from "../ui/keys.js";

const DEBOUNCE_MS = 200;

/** @typedef {import("./page_loader.js").ItemFilter} ItemFilter */

export class Filters {
  /** @type {ItemFilter} */
  #filter = { state: null, folder: null, text: null };
  #folders = /** @type {HTMLSelectElement} */ (byId("folder"));
  #text = /** @type {HTMLInputElement} */ (byId("text"));
  /** @type {Map<string, HTMLElement>} */
  #counts = new Map();
  #debounceTimer = 0;

  /** @param {(filter: ItemFilter) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    const group = byId("states");
    for (const state of /** @type {const} */ ([null, ...STATES])) group.append(this.#createChip(state));
    makeRoving(group);
    this.#folders.addEventListener("change", () => this.#apply({ folder: this.#folders.value || null }));
    this.#text.addEventListener("input", () => {
      clearTimeout(this.#debounceTimer);
      this.#debounceTimer = window.setTimeout(() => this.#apply({}), DEBOUNCE_MS);
    });
  }

  /** @param {import("../ui/states.js").State | null} state null for all items */
  #createChip(state) {
    const name = state ?? "all";
    const count = element("span", { class: "count" });
    this.#counts.set(name, count);
    const attributes = { type: "button", role: "radio", "aria-checked": String(state === null), "data-state": name };
    const chip = element("button", attributes, state === null ? "All" : stateLabel(state), " ", count);
    chip.addEventListener("click", () => this.#apply({ state }));
    return chip;
  }

  /** @param {Partial<ItemFilter>} change applied together with the current text, which may not have been applied yet */
  #apply(change) {
    clearTimeout(this.#debounceTimer);
    this.onChange({ ...this.#filter, text: this.#text.value.trim() || null, ...change });
  }

  /**
   * Display a filter, which may have been set elsewhere.
   * @param {ItemFilter} filter
   */
  show(filter) {
    this.#filter = filter;
    for (const chip of byId("states").children) {
      setAttribute(chip, "aria-checked", String(chip.getAttribute("data-state") === (filter.state ?? "all")));
    }
    this.#folders.value = filter.folder ?? "";
    if (document.activeElement !== this.#text) this.#text.value = filter.text ?? "";
  }

  /** @param {import("./protocol.js").Status} status */
  onStatus({ items, folders }) {
    for (const [name, count] of this.#counts) {
      const value = items[/** @type {keyof typeof items} */ (name === "all" ? "total" : name)];
      setText(count, formatNumber(value));
      setAttribute(/** @type {Element} */ (count.parentElement), "data-none", value === 0);
    }
    const paths = folders.map(({ path }) => path);
    // Replacing the options would close an open drop-down.
    if (paths.join("\0") === [...this.#folders.options].slice(1).map(({ value }) => value).join("\0")) return;
    this.#folders.replaceChildren(
      element("option", { value: "" }, "All folders"),
      ...paths.map((path) => element("option", { value: path }, isolate(path))),
    );
    this.#folders.value = this.#filter.folder ?? "";
    this.#folders.hidden = paths.length === 0;
  }
}
