/** The library: search as you type, thumbnails, one picture large. */

import { change, get, sentenceOf } from "./client.js";
import { byId, element, put, write } from "./element.js";
import { isolated } from "./names.js";
import { Pages, PAGE_ROWS } from "./pages.js";
import { Removal } from "./removal.js";
import { tried } from "./say.js";
import { Tiles } from "./tiles.js";
import { Viewer } from "./viewer.js";
import { number } from "./words.js";

const TYPED_MS = 180;
const AGAIN_MS = 1500; // between two readings of what has changed

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./asset.js").Found} Found */

export class Shelf {
  /** @type {Pages<Asset>} */
  pages = new Pages();
  #text = "";
  #isFavorite = false;
  #tag = "";
  /** @type {Asset | null} the picture that others are to be like */
  #like = null;
  #isShown = false;
  #isReading = false;
  #isStale = true;
  #isAgainSet = false;
  #asking = new AbortController();
  #offersSimilar = false;
  /** @type {Viewer | null} */
  #viewer = null;

  /** @param {import("./news.js").News} news */
  constructor(news) {
    this.removal = new Removal(() => this.#begin());
    this.tiles = new Tiles(byId("tiles"), byId("tiles-canvas"), this.pages, {
      looked: () => void this.#read(),
      opened: (at) => this.#open(at),
      pressed: (key, asset) => this.#pressed(key, asset),
    });
    const search = /** @type {HTMLInputElement} */ (byId("search"));
    let typed = 0;
    search.addEventListener("input", () => {
      clearTimeout(typed);
      typed = window.setTimeout(() => this.#choose(() => (this.#text = search.value.trim())), TYPED_MS);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        this.tiles.view.focus();
      }
    });
    const favorites = byId("favorites");
    favorites.addEventListener("click", () => {
      this.#choose(() => (this.#isFavorite = !this.#isFavorite));
      put(favorites, "aria-pressed", String(this.#isFavorite));
    });
    const tag = /** @type {HTMLSelectElement} */ (byId("tag"));
    tag.addEventListener("change", () => this.#choose(() => (this.#tag = tag.value)));
    byId("like-none").addEventListener("click", () => this.#choose(() => {}));
    news.listen((told) => {
      if (told.kind !== "items") return;
      if (told.news === null || told.news.some(({ state }) => state === "ready")) this.#changed();
    });
  }

  show() {
    this.#isShown = true;
    this.tiles.scroller.resized();
    this.#again();
    void this.#readTags();
  }

  hide() {
    this.#isShown = false;
  }

  #changed() {
    this.#isStale = true;
    if (!this.#isShown || this.#isAgainSet) return;
    this.#isAgainSet = true;
    setTimeout(() => {
      this.#isAgainSet = false;
      if (this.#isShown) this.#again();
    }, AGAIN_MS);
  }

  /** Read what has changed since, unless somebody looks at something else than the newest. */
  #again() {
    if (!this.#isStale || this.tiles.map.anchor.row > 0 || this.#like) return;
    this.#isStale = false;
    void this.#readPage(0);
  }

  /** @param {() => unknown} how */
  #choose(how) {
    this.#like = null;
    how();
    this.#begin();
  }

  /** Others are wanted: an answer that is still on its way is not. */
  #begin() {
    this.#asking.abort();
    this.#asking = new AbortController();
    this.#isReading = false;
    byId("like").hidden = this.#like === null;
    write(byId("like-name"), this.#like ? `Similar to ${isolated(this.#like.name)}` : "");
    void this.#readPage(0).then(() => this.tiles.begin());
  }

  async #read() {
    if (!this.pages || !this.#isShown || this.#isReading) return;
    const { first, last } = this.tiles.lookedAt;
    const page = this.pages.length || !this.pages.isComplete ? this.pages.lacking(first, last) : null;
    if (page !== null) await this.#readPage(page);
  }

  /** @param {number} page */
  async #readPage(page) {
    this.#isReading = true;
    const { signal } = this.#asking;
    try {
      const found = await this.#found(page, signal);
      if (signal.aborted) return;
      if (page === 0) this.pages.clear();
      const assets = found.assets.filter((asset) => !this.removal.isRemoved(asset));
      const gone = found.assets.length - assets.length;
      const total = found.total === null ? null : found.total - gone;
      this.pages.take(page, assets, { total, hasMore: found.has_more });
      this.#offersSimilar = found.offers.similar;
      this.#isReading = false;
      this.tiles.moved();
      this.#say(found);
    } catch (error) {
      if (signal.aborted) return;
      this.#isReading = false;
      this.pages.isComplete = true; // not asked for again until something changes
      write(byId("tiles-said"), sentenceOf(error));
    }
  }

  /**
   * @param {number} page
   * @param {AbortSignal} signal
   * @returns {Promise<Found>}
   */
  #found(page, signal) {
    if (this.#like) return get(`/v1/library/${encodeURIComponent(this.#like.id)}/similar`, { limit: PAGE_ROWS }, signal);
    const text = this.#text || null;
    const favorite = this.#isFavorite || null;
    return get("/v1/library", { text, favorite, tag: this.#tag || null, limit: PAGE_ROWS, offset: page * PAGE_ROWS }, signal);
  }

  /** @param {Found} found */
  #say(found) {
    const { length } = this.pages;
    const what = this.#text || this.#like ? "match" : "meme";
    const many = what === "match" ? "matches" : "memes";
    const more = found.total === null && found.has_more ? "+" : "";
    write(byId("tiles-count"), `${number(length)}${more} ${length === 1 ? what : many}`);
    const isFiltered = this.#text || this.#isFavorite || this.#tag || this.#like;
    write(byId("tiles-said"), length ? "" : isFiltered ? "Nothing matches." : "The library is empty. Drop images on this page.");
  }

  async #readTags() {
    /** @type {{tags: {id: string, name: string, count: number}[]} | null} */
    const said = await get("/v1/library/tags").catch(() => null);
    const select = /** @type {HTMLSelectElement} */ (byId("tag"));
    select.hidden = !said?.tags.length;
    select.replaceChildren(
      element("option", { value: "" }, "every tag"),
      ...(said?.tags ?? []).map(({ id, name, count }) => element("option", { value: id }, `${isolated(name)} (${count})`)),
    );
    select.value = this.#tag;
  }

  /** @param {number} at */
  #open(at) {
    const asset = this.pages.row(at);
    if (!asset) return;
    this.#viewer = new Viewer(asset, {
      step: (by) => this.#step(by),
      changed: (changed) => {
        this.pages.replace((each) => (each.id === changed.id ? changed : each));
        this.tiles.refresh();
        void this.#readTags();
      },
      remove: (removed) => {
        this.#viewer?.close();
        this.removal.remove(removed);
      },
      similar: this.#offersSimilar ? (like) => this.#alike(like) : null,
      closed: () => {
        this.#viewer = null;
        this.tiles.view.focus();
      },
    });
  }

  /** @param {number} by */
  #step(by) {
    const to = Math.min(this.pages.length - 1, Math.max(0, this.tiles.cursor + by));
    const asset = this.pages.row(to);
    if (!asset || !this.#viewer) return;
    this.tiles.go(to);
    this.#viewer.show(asset);
  }

  /** @param {Asset} asset */
  #alike(asset) {
    this.#viewer?.close();
    this.#like = asset;
    this.#begin();
  }

  /**
   * @param {string} key
   * @param {Asset} asset
   */
  #pressed(key, asset) {
    if (key === "Delete") this.removal.remove(asset);
    else if (key === "f") void this.#favorite(asset);
    else if (key === "s" && this.#offersSimilar) this.#alike(asset);
    else return false;
    return true;
  }

  /** @param {Asset} asset */
  async #favorite(asset) {
    const favorite = !asset.favorite;
    if (await tried(change("PATCH", `/v1/library/${encodeURIComponent(asset.id)}`, { favorite }))) {
      this.pages.replace((each) => (each.id === asset.id ? { ...each, favorite } : each));
      this.tiles.refresh();
    }
  }
}
