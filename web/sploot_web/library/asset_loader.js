/** Loads the pages of the list of pictures that a filter selects. */

import { get } from "../ui/client.js";
import { PAGE_ROWS, Pages } from "../ui/pages.js";

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./asset.js").AssetPage} AssetPage */

/**
 * What the list shows; an empty field selects nothing.
 *
 * @typedef {object} AssetFilter
 * @property {string} text
 * @property {string} sort newest, oldest, largest, copied, shuffle
 * @property {string} seed each is another order of `shuffle`
 * @property {boolean} favorite
 * @property {string} kind gif, tall, no_text, untagged
 * @property {string} tag id of a tag
 * @property {string} folder
 * @property {string} template
 * @property {string} group id of a picture: those that look the same, and itself
 * @property {string} after ISO 8601
 * @property {string} before ISO 8601
 * @property {string} similar id of a picture: those that look or mean the same
 */

/** @type {AssetFilter} */
export const NO_FILTER = {
  text: "", sort: "", seed: "", favorite: false, kind: "", tag: "", folder: "", template: "", group: "", after: "",
  before: "", similar: "",
};

export class AssetLoader {
  /** @type {Pages<Asset>} */
  pages = new Pages();
  filter = NO_FILTER;
  isNearest = false; // nothing matches: the pages hold the nearest pictures
  #isLoading = false;
  #loading = new AbortController();
  #requests = 0;
  #newestShown = 0; // number of the latest request for the first page whose reply is shown

  /**
   * @param {object} handlers
   * @param {(reply: AssetPage, isNewList: boolean) => void} handlers.onPage
   * @param {(error: unknown) => void} handlers.onError
   */
  constructor(handlers) {
    this.handlers = handlers;
  }

  /**
   * Load the list for a new filter. Aborts the previous request, whose reply would otherwise overwrite this one.
   * @param {AssetFilter} filter
   */
  async restart(filter) {
    this.filter = filter;
    this.#loading.abort();
    this.#loading = new AbortController();
    await this.#load(0, true);
  }

  /** Load the list again, from its first page, without leaving the place in it. */
  async reload() {
    await this.#load(0, false);
  }

  /**
   * Load a missing page between two pictures, if no other request is on its way.
   * @param {{first: number, last: number}} needed
   */
  async loadMissing({ first, last }) {
    if (this.#isLoading || (!this.pages.length && this.pages.isComplete)) return;
    const page = this.pages.missingPage(first, last);
    if (page !== null) await this.#load(page, false);
  }

  /**
   * @param {number} page
   * @param {boolean} isNewList
   */
  async #load(page, isNewList) {
    this.#isLoading = true;
    const { signal } = this.#loading;
    const number = ++this.#requests;
    try {
      const reply = await this.#fetch(page, signal);
      if (signal.aborted || number < this.#newestShown) return; // replies may overtake each other
      if (page === 0) {
        this.pages.clear();
        this.#newestShown = number;
      }
      const nearest = page === 0 && !reply.assets.length ? reply.nearest ?? [] : [];
      if (page === 0) this.isNearest = nearest.length > 0;
      if (nearest.length) this.pages.store(0, nearest, { total: nearest.length, hasMore: false });
      else this.pages.store(page, reply.assets, { total: reply.total, hasMore: reply.has_more });
      this.#isLoading = false;
      this.handlers.onPage(reply, isNewList);
    } catch (error) {
      if (signal.aborted) return;
      this.#isLoading = false;
      this.pages.isComplete = true; // prevents further requests until something changes
      this.handlers.onError(error);
    }
  }

  /** The filter as parameters of a request; a similar picture is part of the path. */
  get query() {
    const { similar, ...filter } = this.filter;
    return Object.fromEntries(Object.entries(filter).map(([name, value]) => [name, value || null]));
  }

  /**
   * @param {number} page
   * @param {AbortSignal} signal
   * @returns {Promise<AssetPage>}
   */
  async #fetch(page, signal) {
    const { similar, group } = this.filter;
    if (similar) return get(`/v1/library/${encodeURIComponent(similar)}/similar`, { limit: PAGE_ROWS }, signal);
    /** @type {AssetPage} */
    const reply = await get("/v1/library", { ...this.query, limit: PAGE_ROWS, offset: page * PAGE_ROWS }, signal);
    // In the list of its group a picture stands for itself only.
    return group ? { ...reply, assets: reply.assets.map((asset) => ({ ...asset, near_duplicate_count: 0 })) } : reply;
  }
}
