/** The library view: search as you type, filters, the grid of pictures, the viewer. */

import { errorText, get, send } from "./client.js";
import { byId, element, setAttribute, setText } from "./dom.js";
import { isolate } from "./filename.js";
import { formatNumber } from "./format.js";
import { PAGE_ROWS, Pages } from "./pages.js";
import { Tiles } from "./tiles.js";
import { withErrorToast } from "./toast.js";
import { UndoableDelete } from "./undoable_delete.js";
import { Viewer } from "./viewer.js";

const DEBOUNCE_MS = 180;
const REFRESH_MS = 1500; // between two reloads of a library that changes

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./asset.js").AssetPage} AssetPage */

export class Library {
  /** @type {Pages<Asset>} */
  pages = new Pages();
  #text = "";
  #isFavorite = false;
  #tag = "";
  /** @type {Asset | null} show pictures similar to this one */
  #similarTo = null;
  #isVisible = false;
  #isLoading = false;
  #isStale = true;
  #isRefreshScheduled = false;
  #loading = new AbortController();
  #hasSimilar = false; // the server can search for similar pictures
  /** @type {Viewer | null} */
  #viewer = null;

  /** @param {import("./event_hub.js").EventHub} hub */
  constructor(hub) {
    this.deletions = new UndoableDelete(() => this.#reload());
    this.tiles = new Tiles(byId("tiles"), byId("tiles-canvas"), this.pages, {
      onViewChange: () => void this.#loadVisible(),
      onOpen: (index) => this.#open(index),
      onKey: (key, asset) => this.#onKey(key, asset),
    });
    const search = /** @type {HTMLInputElement} */ (byId("search"));
    let debounceTimer = 0;
    search.addEventListener("input", () => {
      clearTimeout(debounceTimer);
      const apply = () => this.#changeFilter(() => (this.#text = search.value.trim()));
      debounceTimer = window.setTimeout(apply, DEBOUNCE_MS);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        this.tiles.view.focus();
      }
    });
    const favorites = byId("favorites");
    favorites.addEventListener("click", () => {
      this.#changeFilter(() => (this.#isFavorite = !this.#isFavorite));
      setAttribute(favorites, "aria-pressed", String(this.#isFavorite));
    });
    const tag = /** @type {HTMLSelectElement} */ (byId("tag"));
    tag.addEventListener("change", () => this.#changeFilter(() => (this.#tag = tag.value)));
    byId("similar-none").addEventListener("click", () => this.#changeFilter(() => {}));
    hub.subscribe((event) => {
      if (event.kind !== "items") return;
      if (event.events === null || event.events.some(({ state }) => state === "ready")) this.#onLibraryChange();
    });
  }

  show() {
    this.#isVisible = true;
    this.tiles.scroller.onResize();
    this.#refresh();
    void this.#loadTags();
  }

  hide() {
    this.#isVisible = false;
  }

  #onLibraryChange() {
    this.#isStale = true;
    if (!this.#isVisible || this.#isRefreshScheduled) return;
    this.#isRefreshScheduled = true;
    setTimeout(() => {
      this.#isRefreshScheduled = false;
      if (this.#isVisible) this.#refresh();
    }, REFRESH_MS);
  }

  /** Reload a changed library, unless the user has scrolled away from the newest pictures. */
  #refresh() {
    if (!this.#isStale || this.tiles.scroll.anchor.row > 0 || this.#similarTo) return;
    this.#isStale = false;
    void this.#loadPage(0);
  }

  /** @param {() => unknown} apply sets one field of the filter */
  #changeFilter(apply) {
    this.#similarTo = null;
    apply();
    this.#reload();
  }

  /** Load the list for a new filter. Aborts the previous request, whose reply would otherwise overwrite this one. */
  #reload() {
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#isLoading = false;
    byId("similar").hidden = this.#similarTo === null;
    setText(byId("similar-name"), this.#similarTo ? `Similar to ${isolate(this.#similarTo.name)}` : "");
    void this.#loadPage(0).then(() => this.tiles.reset());
  }

  async #loadVisible() {
    if (!this.pages || !this.#isVisible || this.#isLoading) return;
    const { first, last } = this.tiles.visibleRange;
    const page = this.pages.length || !this.pages.isComplete ? this.pages.missingPage(first, last) : null;
    if (page !== null) await this.#loadPage(page);
  }

  /** @param {number} page */
  async #loadPage(page) {
    this.#isLoading = true;
    const { signal } = this.#loading;
    try {
      const reply = await this.#fetchPage(page, signal);
      if (signal.aborted) return;
      if (page === 0) this.pages.clear();
      const assets = reply.assets.filter((asset) => !this.deletions.isDeleted(asset));
      const hidden = reply.assets.length - assets.length;
      const total = reply.total === null ? null : reply.total - hidden;
      this.pages.store(page, assets, { total, hasMore: reply.has_more });
      this.#hasSimilar = reply.features.similar;
      this.#isLoading = false;
      this.tiles.onPagesChange();
      this.#showCount(reply);
    } catch (error) {
      if (signal.aborted) return;
      this.#isLoading = false;
      this.pages.isComplete = true; // prevents further requests until something changes
      setText(byId("tiles-message"), errorText(error));
    }
  }

  /**
   * @param {number} page
   * @param {AbortSignal} signal
   * @returns {Promise<AssetPage>}
   */
  #fetchPage(page, signal) {
    if (this.#similarTo) {
      return get(`/v1/library/${encodeURIComponent(this.#similarTo.id)}/similar`, { limit: PAGE_ROWS }, signal);
    }
    const filter = { text: this.#text || null, favorite: this.#isFavorite || null, tag: this.#tag || null };
    return get("/v1/library", { ...filter, limit: PAGE_ROWS, offset: page * PAGE_ROWS }, signal);
  }

  /** @param {AssetPage} reply */
  #showCount(reply) {
    const { length } = this.pages;
    const [singular, plural] = this.#text || this.#similarTo ? ["match", "matches"] : ["meme", "memes"];
    const more = reply.total === null && reply.has_more ? "+" : "";
    setText(byId("tiles-count"), `${formatNumber(length)}${more} ${length === 1 ? singular : plural}`);
    setText(byId("tiles-message"), length ? "" : this.#emptyMessage);
  }

  get #emptyMessage() {
    if (this.#text) return `No pictures match '${this.#text}'.`;
    const isFiltered = this.#isFavorite || this.#tag || this.#similarTo;
    return isFiltered ? "No pictures match." : "The library is empty. Drop images here to add them.";
  }

  async #loadTags() {
    /** @type {{tags: {id: string, name: string, count: number}[]} | null} */
    const reply = await get("/v1/library/tags").catch(() => null);
    const select = /** @type {HTMLSelectElement} */ (byId("tag"));
    select.hidden = !reply?.tags.length;
    select.replaceChildren(
      element("option", { value: "" }, "All tags"),
      ...(reply?.tags ?? []).map(({ id, name, count }) =>
        element("option", { value: id }, `${isolate(name)} (${count})`)),
    );
    select.value = this.#tag;
  }

  /** @param {number} index */
  #open(index) {
    const asset = this.pages.row(index);
    if (!asset) return;
    this.#viewer = new Viewer(asset, {
      onStep: (by) => this.#step(by),
      onChange: (changed) => {
        this.pages.replace((each) => (each.id === changed.id ? changed : each));
        this.tiles.refresh();
        void this.#loadTags();
      },
      onDelete: (deleted) => {
        this.#viewer?.close();
        this.deletions.delete(deleted);
      },
      onSimilar: this.#hasSimilar ? (similarTo) => this.#showSimilar(similarTo) : null,
      onClose: () => {
        this.#viewer = null;
        this.tiles.view.focus();
      },
    });
  }

  /** @param {number} by */
  #step(by) {
    const index = Math.min(this.pages.length - 1, Math.max(0, this.tiles.cursor + by));
    const asset = this.pages.row(index);
    if (!asset || !this.#viewer) return;
    this.tiles.moveCursor(index);
    this.#viewer.show(asset);
  }

  /** @param {Asset} asset */
  #showSimilar(asset) {
    this.#viewer?.close();
    this.#similarTo = asset;
    this.#reload();
  }

  /**
   * @param {string} key
   * @param {Asset} asset
   */
  #onKey(key, asset) {
    if (key === "Delete") this.deletions.delete(asset);
    else if (key === "f") void this.#toggleFavorite(asset);
    else if (key === "s" && this.#hasSimilar) this.#showSimilar(asset);
    else return false;
    return true;
  }

  /** @param {Asset} asset */
  async #toggleFavorite(asset) {
    const favorite = !asset.favorite;
    if (await withErrorToast(send("PATCH", `/v1/library/${encodeURIComponent(asset.id)}`, { favorite }))) {
      this.pages.replace((each) => (each.id === asset.id ? { ...each, favorite } : each));
      this.tiles.refresh();
    }
  }
}
