/** Suggests the tags of the library while one is typed, in a list that the arrow keys reach (ARIA combobox). */

import { get } from "../ui/client.js";
import { element, setAttribute } from "../ui/dom.js";
import { escapeInvisible, isolate } from "../ui/filename.js";

const SUGGESTIONS_MAX = 8;

/** @typedef {{id: string, name: string, count: number}} TagCount */

/** @returns {Promise<TagCount[]>} */
export async function fetchTags() {
  /** @type {{tags: TagCount[]}} */
  const { tags } = await get("/v1/library/tags");
  return tags;
}

/**
 * Return the tags that continue or contain the typed text, those that most pictures have first.
 * @param {TagCount[]} tags
 * @param {string} typed
 */
export function suggestTags(tags, typed) {
  const text = typed.trim().toLowerCase();
  const rank = (/** @type {TagCount} */ { name }) => (name.toLowerCase().startsWith(text) ? 0 : 1);
  return tags
    .filter(({ name }) => name.toLowerCase().includes(text) && name.toLowerCase() !== text)
    .sort((a, b) => rank(a) - rank(b) || b.count - a.count)
    .slice(0, SUGGESTIONS_MAX);
}

let listCount = 0;

export class TagSuggestions {
  #list = element("ul", { id: `tag-suggestions-${(listCount += 1)}`, class: "suggestions", role: "listbox", "aria-label": "Tags", hidden: true });
  /** @type {TagCount[]} */
  #tags = [];
  #active = -1;

  /**
   * Suggest tags for the last one of a list separated by commas.
   * @param {HTMLInputElement} input in the document; the list is put after it
   */
  constructor(input) {
    this.input = input;
    for (const [name, value] of Object.entries({
      role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.#list.id, autocomplete: "off",
    })) setAttribute(input, name, value);
    input.after(this.#list);
    input.addEventListener("focus", () => void this.#load());
    if (document.activeElement === input) void this.#load();
    input.addEventListener("input", () => this.#show());
    input.addEventListener("blur", () => this.#hide());
    input.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the input keeps the focus
      const option = event.target instanceof Element ? event.target.closest("li") : null;
      if (option) this.#choose(option.dataset["name"] ?? "");
    });
  }

  get #options() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }

  async #load() {
    this.#tags = await fetchTags().catch(() => []);
    if (document.activeElement === this.input && this.#typed) this.#show();
  }

  get #typed() {
    return (this.input.value.split(",").at(-1) ?? "").trim();
  }

  #show() {
    const chosen = new Set(this.input.value.toLowerCase().split(",").map((name) => name.trim()));
    const tags = suggestTags(this.#tags.filter(({ name }) => !chosen.has(name.toLowerCase())), this.#typed);
    this.#list.replaceChildren(...tags.map(({ name, count }, index) =>
      element("li", { id: `${this.#list.id}-${index}`, role: "option", "aria-selected": "false", "data-name": name },
        isolate(name), element("span", { class: "dim" }, ` ${count}`))));
    this.#activate(-1);
    this.#list.hidden = !tags.length;
    setAttribute(this.input, "aria-expanded", String(tags.length > 0));
  }

  #hide() {
    this.#list.hidden = true;
    this.#activate(-1);
    setAttribute(this.input, "aria-expanded", "false");
  }

  /** @param {number} index -1: none */
  #activate(index) {
    this.#active = index;
    this.#options.forEach((option, each) => setAttribute(option, "aria-selected", String(each === index)));
    setAttribute(this.input, "aria-activedescendant", this.#options[index]?.id ?? null);
  }

  /** @param {string} name */
  #choose(name) {
    const before = this.input.value.split(",").slice(0, -1).map((each) => each.trim());
    this.input.value = [...before, escapeInvisible(name)].filter(Boolean).join(", ");
    this.input.dispatchEvent(new Event("change"));
    this.#hide();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key === "ArrowDown" && this.#list.hidden) this.#show();
    if (this.#list.hidden) return;
    const count = this.#options.length;
    if (event.key === "ArrowDown") this.#activate((this.#active + 1) % count);
    else if (event.key === "ArrowUp") this.#activate(this.#active <= 0 ? count - 1 : this.#active - 1);
    else if (event.key === "Enter" && this.#active >= 0) this.#choose(this.#options[this.#active]?.dataset["name"] ?? "");
    else if (event.key === "Escape") this.#hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
