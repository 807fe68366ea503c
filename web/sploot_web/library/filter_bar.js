/** The bar over the wall: what selects the pictures, their order, and how many there are. */

import { get } from "../ui/client.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";

/** @typedef {import("./asset_loader.js").AssetFilter} AssetFilter */
/** @typedef {import("./asset.js").Features} Features */

const KINDS = { gif: "GIFs", tall: "Tall", no_text: "No words", untagged: "Untagged" };
const SORTS = { "": "Newest", oldest: "Oldest", largest: "Largest", copied: "Recently copied", shuffle: "Shuffle" };
const PLAIN_SORTS = ["", "oldest"]; // every host knows them
const YEARS = 6;
const DAY_MS = 86_400_000;
const SEED_MAX = 2 ** 31 - 1;

export class FilterBar {
  #favorites = button("Favourites", () => this.onChange({ favorite: !this.#filter.favorite }), { id: "favorites" });
  #kinds = Object.entries(KINDS).map(([kind, label]) =>
    button(label, () => this.onChange({ kind: this.#filter.kind === kind ? "" : kind }), { "data-kind": kind }));
  #tag = this.#select("tag", "Tag", (tag) => ({ tag }));
  #folder = this.#select("library-folder", "Folder", (folder) => ({ folder }));
  #template = this.#select("template", "Template", (template) => ({ template }));
  #date = this.#select("date", "Date", (range) => ({ after: range.split(" ")[0] ?? "", before: range.split(" ")[1] ?? "" }));
  #sort = this.#select("sort", "Order", (sort) => ({ sort, seed: sort === "shuffle" ? newSeed() : "" }));
  #count = element("span", { id: "tiles-count", class: "dim", role: "status" });
  #notice = element("p", { id: "tiles-notice", role: "status", hidden: true });
  #clear = button("Show all", () => this.onClear(), { id: "show-all", class: "link", hidden: true });
  /** @type {AssetFilter} */
  #filter;
  /** @type {Partial<Features>} */
  #features = {};

  /**
   * @param {HTMLElement} root
   * @param {AssetFilter} filter
   * @param {(changes: Partial<AssetFilter>) => void} onChange
   * @param {() => void} onClear
   */
  constructor(root, filter, onChange, onClear) {
    this.#filter = filter;
    this.onChange = onChange;
    this.onClear = onClear;
    const chips = element(
      "div", { class: "chips", role: "group", "aria-label": "Show only" },
      this.#favorites, ...this.#kinds, this.#tag, this.#folder, this.#template, this.#date);
    this.end = element("div", { class: "bar-end" }, this.#count, this.#sort); // what the organizer adds follows
    root.append(element("div", { class: "bar" }, chips, this.end), element("div", { class: "notice" }, this.#notice, this.#clear));
    this.#date.append(...dateOptions(new Date()));
    this.show(filter);
  }

  /**
   * @param {string} id
   * @param {string} label
   * @param {(value: string) => Partial<AssetFilter>} changes
   */
  #select(id, label, changes) {
    const select = element("select", { id, "aria-label": label });
    select.addEventListener("change", () => this.onChange(changes(select.value)));
    return select;
  }

  /** @param {AssetFilter} filter */
  show(filter) {
    this.#filter = filter;
    setAttribute(this.#favorites, "aria-pressed", String(filter.favorite));
    for (const kind of this.#kinds) setAttribute(kind, "aria-pressed", String(kind.dataset.kind === filter.kind));
    const range = filter.after || filter.before ? `${filter.after} ${filter.before}`.trim() : "";
    for (const [select, value] of /** @type {const} */ ([
      [this.#tag, filter.tag], [this.#folder, filter.folder], [this.#template, filter.template],
      [this.#sort, filter.sort], [this.#date, range],
    ])) {
      select.value = value;
      setAttribute(select, "data-chosen", value !== "");
    }
    this.#update();
  }

  /** @param {Partial<Features>} features what the library can do */
  set features(features) {
    if (JSON.stringify(features) === JSON.stringify(this.#features)) return;
    this.#features = features;
    this.#sort.replaceChildren(...Object.entries(SORTS)
      .filter(([sort]) => features.sorts || PLAIN_SORTS.includes(sort))
      .map(([sort, label]) => element("option", { value: sort }, label)));
    this.#sort.value = this.#filter.sort;
    this.#update();
    void this.loadChoices();
  }

  /** Hide what the host does not know, and what does not apply: a search orders by its own score. */
  #update() {
    const { kinds, dates } = this.#features;
    for (const kind of this.#kinds) kind.hidden = !kinds;
    this.#date.hidden = !dates;
    for (const select of [this.#tag, this.#folder, this.#template]) select.hidden = select.options.length < 2;
    this.#sort.hidden = Boolean(this.#filter.text || this.#filter.similar);
  }

  /**
   * @param {string} count
   * @param {string} notice a sentence about the list; empty for none
   * @param {boolean} isFiltered then "Show all" is offered beside the notice
   */
  showCount(count, notice, isFiltered) {
    setText(this.#count, count);
    setText(this.#notice, notice);
    this.#notice.hidden = !notice;
    this.#clear.hidden = !notice || !isFiltered;
  }

  /** Load the tags, the folders and the templates again. */
  async loadChoices() {
    const [tags, folders, templates] = await Promise.all([
      get("/v1/library/tags").catch(() => null),
      this.#features.folders ? get("/v1/library/folders").catch(() => null) : null,
      this.#features.templates ? get("/v1/library/templates").catch(() => null) : null,
    ]);
    fill(this.#tag, "All tags", tags?.tags ?? []);
    fill(this.#folder, "All folders", folders?.folders ?? []);
    fill(this.#template, "All templates", templates?.templates ?? []);
    this.show(this.#filter);
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {string} all label of no choice
 * @param {{id?: string, name: string, count: number}[]} choices
 */
function fill(select, all, choices) {
  select.replaceChildren(
    element("option", { value: "" }, all),
    ...choices.map(({ id, name, count }) => element("option", { value: id ?? name }, `${isolate(name)} (${count})`)),
  );
}

/**
 * Return the choices of time, each with its first and its last moment.
 * @param {Date} now
 */
function dateOptions(now) {
  const day = (/** @type {number} */ days) => new Date(now.getTime() - days * DAY_MS).toISOString();
  const year = now.getFullYear();
  const years = Array.from({ length: YEARS }, (_, back) => year - back);
  /** @type {[string, string][]} */
  const choices = [["", "Any date"], [day(1), "Last 24 hours"], [day(7), "Last 7 days"], [day(30), "Last 30 days"]];
  for (const each of years) choices.push([`${startOf(each)} ${startOf(each + 1)}`, String(each)]);
  return choices.map(([value, label]) => element("option", { value }, label));
}

/** @param {number} year */
function startOf(year) {
  return new Date(year, 0).toISOString();
}

function newSeed() {
  return String(1 + Math.floor(Math.random() * (SEED_MAX - 1)));
}
