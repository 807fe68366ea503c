/** The library view: search as you type, filters, the wall of pictures, the viewer. Its state is in the address. */

import { formatAddress, parseAddress } from "./address.js";
import { AssetLoader, NO_FILTER } from "./asset_loader.js";
import { Organizer } from "./organizer.js";
import { FilterBar } from "./filter_bar.js";
import { ScrollDate } from "./scroll_date.js";
import { SearchBox } from "./search_box.js";
import { copyPicture, takeOut } from "./take_out.js";
import { UndoableDelete } from "./undoable_delete.js";
import { Viewer } from "./viewer.js";
import { Wall } from "./wall.js";
import { errorText, get, send } from "../ui/client.js";
import { element, setAttribute, setText } from "../ui/dom.js";
import { formatNumber } from "../ui/format.js";
import { withErrorToast } from "../ui/toast.js";

const REFRESH_MS = 1500; // between two reloads of a library that changes
const SAVE_PLACE_MS = 300; // after the last scrolling

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./asset.js").AssetPage} AssetPage */
/** @typedef {import("./asset_loader.js").AssetFilter} AssetFilter */

export class Library {
  isVisible = false;
  #hasFailed = false;
  #unavailable = "";
  #isStale = true;
  #isRefreshScheduled = false;
  #saveTimer = 0;
  /** @type {Partial<import("./asset.js").Features>} */
  #features = {};
  #message = element("p", { id: "tiles-message", class: "empty", role: "status" });
  /** @type {Viewer | null} */
  #viewer = null;
  /** @type {string | null} picture to open when the first page is loaded */
  #openId;
  /** @type {number} index to scroll to when the first page is loaded: a reload keeps the place */
  #savedIndex;

  /**
   * @param {HTMLElement} root an empty element for the wall and its bar
   * @param {HTMLElement} searchSlot an empty element for the search box
   */
  constructor(root, searchSlot) {
    this.root = root;
    const address = parseAddress(location.hash);
    this.#openId = address?.openId ?? null;
    this.#savedIndex = history.state?.index ?? 0;
    this.loader = new AssetLoader({
      onPage: (reply, isNewList) => this.#onPage(reply, isNewList),
      onError: (error) => this.#onError(error),
    });
    this.loader.filter = address?.filter ?? NO_FILTER;
    this.pages = this.loader.pages;
    this.deletions = new UndoableDelete({
      onChange: () => this.#onChange(),
      onGone: (id) => this.#onGone(id),
    });
    this.search = new SearchBox(searchSlot, {
      onSearch: (text) => this.#changeFilter({ text }),
      onLeave: () => this.wall.view.focus(),
    });
    this.search.input.value = this.loader.filter.text;
    this.bar = new FilterBar(
      root, this.loader.filter, (changes) => this.#changeFilter(changes), () => this.#showAll());
    const stack = element("div", { class: "stack" });
    root.append(stack);
    this.wall = new Wall(stack, this.pages, {
      isHidden: (asset) => this.deletions.isDeleted(asset),
      isSelected: (asset) => this.organizer?.selected.has(asset) ?? false,
      onViewChange: () => this.#onViewChange(),
      onOpen: (index) => this.#openAt(index),
      onKey: (key, asset) => this.#onKey(key, asset),
      onCopy: (asset) => void this.#copy(asset),
      onFavorite: (asset) => void this.#toggleFavorite(asset),
      onGroup: (asset) => this.#showGroup(asset),
    });
    stack.append(this.#message);
    new ScrollDate(this.wall.view, () => this.#dateInView);
    addEventListener("popstate", () => this.isVisible && this.#onAddress());
    this.organizer = new Organizer(this, { root, bar: this.bar.end });
  }

  /** Load the list again, without leaving the place in it. */
  async reload() {
    void this.bar.loadChoices();
    await this.loader.reload();
  }

  /** @param {string} tag id of the tag whose pictures to show; empty for all */
  showTag(tag) {
    void this.bar.loadChoices();
    this.#changeFilter({ tag });
  }

  show() {
    this.isVisible = true;
    this.wall.scroller.onResize();
    if (parseAddress(location.hash)?.isBare) this.#writeAddress("replace", this.#openId);
    else this.#onAddress();
    this.#refresh();
    void this.bar.loadChoices();
  }

  hide() {
    this.isVisible = false;
  }

  /** Show pictures that were added elsewhere, now or when the view is shown. */
  onLibraryChange() {
    this.#isStale = true;
    if (!this.isVisible || this.#isRefreshScheduled) return;
    this.#isRefreshScheduled = true;
    setTimeout(() => {
      this.#isRefreshScheduled = false;
      if (this.isVisible) this.#refresh();
    }, REFRESH_MS);
  }

  /** Reload a changed library, unless the user has scrolled away from the newest pictures. */
  #refresh() {
    if (!this.#isStale || !this.wall.isAtTop || this.loader.filter.similar) return;
    this.#isStale = false;
    void this.loader.reload();
  }

  /** Show what the address says: the user went back or forward, or opened a link. */
  #onAddress() {
    const address = parseAddress(location.hash);
    if (!address) return;
    const { filter, openId } = address;
    if (formatAddress(filter, null) !== formatAddress(this.loader.filter, null)) {
      this.search.input.value = filter.text;
      this.#load(filter);
    }
    if (openId === null) this.#viewer?.close();
    else if (openId !== this.#viewer?.asset.id) void this.#openById(openId);
  }

  /**
   * @param {"push" | "replace"} how push adds a step for Back
   * @param {string | null} openId
   */
  #writeAddress(how, openId) {
    const address = formatAddress(this.loader.filter, openId);
    if (how === "push") history.pushState({ isPushed: true }, "", address);
    else history.replaceState(history.state, "", address);
  }

  /**
   * @param {Partial<AssetFilter>} changes
   * @param {"push" | "replace"} [how] push adds a step for Back
   */
  #changeFilter(changes, how = "replace") {
    const filter = { ...this.loader.filter, similar: "", ...changes };
    this.#load(filter);
    this.#writeAddress(how, null);
  }

  #showAll() {
    this.search.input.value = "";
    this.#changeFilter(NO_FILTER);
  }

  /** @param {AssetFilter} filter */
  #load(filter) {
    this.bar.show(filter);
    this.#isBusy = true;
    void this.loader.restart(filter);
  }

  /** @param {boolean} isBusy a new list is on its way */
  set #isBusy(isBusy) {
    this.search.isBusy = isBusy;
    setAttribute(this.wall.view, "aria-busy", isBusy);
  }

  #onViewChange() {
    if (!this.isVisible) return;
    void this.loader.loadMissing(this.wall.neededRange);
    clearTimeout(this.#saveTimer);
    this.#saveTimer = window.setTimeout(() => {
      const index = this.wall.first?.index;
      const isSaved = index === undefined || history.state?.index === index || this.#savedIndex > 0;
      if (this.isVisible && !isSaved) history.replaceState({ ...history.state, index }, "");
    }, SAVE_PLACE_MS);
  }

  get #dateInView() {
    const { text, similar, sort } = this.loader.filter;
    return text || similar || (sort && sort !== "oldest") ? null : this.wall.first?.asset.created_at ?? null;
  }

  /**
   * @param {AssetPage} reply
   * @param {boolean} isNewList
   */
  #onPage({ features }, isNewList) {
    this.#hasFailed = false;
    this.#features = features;
    this.organizer.show(features, this.loader.filter.tag);
    this.bar.features = features;
    if (isNewList) {
      this.#isBusy = false;
      this.wall.reset();
    }
    this.#onChange();
    const [index, openId] = [this.#savedIndex, this.#openId];
    [this.#savedIndex, this.#openId] = [0, null];
    if (index > 0) this.wall.jumpTo(index);
    if (openId !== null && !this.#viewer) void this.#openById(openId);
  }

  /** @param {unknown} error */
  #onError(error) {
    this.#isBusy = false;
    this.#hasFailed = true;
    setText(this.#message, this.#unavailable || errorText(error));
  }

  /**
   * Say why the library is unavailable, as the host knows better than the error of a request. When it is back, load it.
   * @param {string} reason empty while it is available
   */
  onAvailability(reason) {
    const isBack = this.#unavailable !== "" && reason === "";
    this.#unavailable = reason;
    if (this.#hasFailed && reason) setText(this.#message, reason);
    if (isBack) this.onLibraryChange();
  }

  /** Show the loaded pictures again, some of which have changed or are deleted. */
  #onChange() {
    this.wall.onPagesChange();
    const { filter, isNearest } = this.loader;
    const shown = this.pages.length - this.pages.rows.filter((asset) => this.deletions.isDeleted(asset)).length;
    const count = isNearest ? 0 : shown;
    const [singular, plural] = filter.text || filter.similar ? ["match", "matches"] : ["meme", "memes"];
    const sum = `${formatNumber(count)}${this.pages.isComplete ? "" : "+"} ${count === 1 ? singular : plural}`;
    this.bar.showCount(sum, this.#notice, filter !== NO_FILTER);
    const isFiltered = formatAddress({ ...filter, sort: "", seed: "" }, null) !== formatAddress(NO_FILTER, null);
    setAttribute(this.root, "data-empty", shown === 0 && !isFiltered); // the host shows how to add pictures
    const empty = isFiltered ? "No pictures match." : emptyText();
    setText(this.#message, shown ? "" : filter.text ? `Nothing close to “${filter.text}”.` : empty);
  }

  /** What the list is, if that is not what its filter says. */
  get #notice() {
    const { text, similar, group } = this.loader.filter;
    if (this.loader.isNearest) return `Nothing close to “${text}”. Nearest:`;
    if (group) return "Pictures that look the same.";
    return similar ? "Pictures that look or mean the same." : "";
  }

  /** @param {string} id */
  #onGone(id) {
    const index = this.pages.findIndex((asset) => asset.id === id);
    if (index >= 0) this.pages.remove(index);
  }

  /** @param {number} index */
  #openAt(index) {
    const asset = this.pages.row(index);
    if (!asset) return;
    this.#open(asset);
    this.#writeAddress("push", asset.id);
  }

  /**
   * Open the picture that the address names. One that is gone leaves the address.
   * @param {string} id
   */
  async #openById(id) {
    const index = this.pages.findIndex((asset) => asset.id === id);
    if (index >= 0) this.wall.moveCursor(index);
    const asset = this.pages.row(index)
      ?? (await get(`/v1/library/${encodeURIComponent(id)}`).catch(() => null))?.asset;
    if (!asset) this.#writeAddress("replace", null);
    else if (this.#viewer) this.#viewer.show(asset);
    else this.#open(asset);
  }

  /** @param {Asset} asset */
  #open(asset) {
    this.#viewer = new Viewer(asset, {
      onStep: (by) => this.#step(by),
      onChange: (changed) => {
        this.#replace(changed);
        void this.bar.loadChoices();
      },
      onCopy: (copied) => void this.#copy(copied),
      onDelete: (deleted) => {
        this.#viewer?.close();
        this.#delete(deleted);
      },
      onSimilar: this.#features.similar ? (similarTo) => this.#showSimilar(similarTo) : null,
      canShare: this.#features.share === true,
      canExpire: this.#features.expiry === true,
      onTemplate: this.#features.templates ? (template) => this.#showOnly({ template }) : null,
      onClose: () => this.#onClose(),
    });
  }

  /** Take the picture out of the address, unless the address is why the viewer closed. */
  #onClose() {
    this.#viewer = null;
    this.wall.view.focus();
    if (!parseAddress(location.hash)?.openId) return;
    if (history.state?.isPushed) {
      // Going back to an address with a fragment takes the focus from the wall.
      addEventListener("hashchange", () => this.wall.view.focus(), { once: true });
      history.back();
    } else this.#writeAddress("replace", null);
  }

  /** @param {Asset} changed */
  #replace(changed) {
    this.pages.replace((each) => (each.id === changed.id ? changed : each));
    this.wall.refresh();
  }

  /** @param {1 | -1} by */
  #step(by) {
    const index = this.wall.rows.neighbor(this.wall.cursor, by);
    const asset = this.pages.row(index);
    if (!asset || !this.#viewer) return;
    this.wall.moveCursor(index);
    this.#viewer.show(asset);
    this.#writeAddress("replace", asset.id);
  }

  /** @param {Asset} asset */
  #showSimilar(asset) {
    this.#showOnly({ similar: asset.id });
  }

  /** @param {Asset} asset */
  #showGroup(asset) {
    this.#showOnly({ group: asset.id });
  }

  /**
   * Leave the list, and show another one. Back returns.
   * @param {Partial<AssetFilter>} filter
   */
  #showOnly(filter) {
    this.search.input.value = "";
    this.#changeFilter({ ...NO_FILTER, ...filter }, "push");
    this.#viewer?.close();
  }

  /**
   * @param {string} key
   * @param {Asset} asset
   */
  #onKey(key, asset) {
    if (this.organizer.onKey(key)) return true;
    if (key === "Delete") this.#delete(asset);
    else if (key === "c") void this.#copy(asset);
    else if (key === "f") void this.#toggleFavorite(asset);
    else if (key === "s" && this.#features.similar) this.#showSimilar(asset);
    else if (key === "g" && asset.near_duplicate_count) this.#showGroup(asset);
    else return takeOut(key, asset);
    return true;
  }

  /** Delete into the trash; a library without one deletes after a while in which the user can undo it. @param {Asset} asset */
  #delete(asset) {
    if (this.#features.trash) void this.organizer.changes.delete([asset]);
    else this.deletions.delete(asset);
  }

  /** @param {Asset} asset */
  async #copy(asset) {
    if (!(await copyPicture(asset)) || !this.#features.copied) return;
    await withErrorToast(send("POST", `/v1/library/${encodeURIComponent(asset.id)}/copied`));
  }

  /** @param {Asset} asset */
  async #toggleFavorite(asset) {
    const favorite = !asset.favorite;
    if (await withErrorToast(send("PATCH", `/v1/library/${encodeURIComponent(asset.id)}`, { favorite }))) {
      this.#replace({ ...asset, favorite });
    }
  }
}

/** Say how to add pictures to an empty library: a phone has nothing to drop. */
function emptyText() {
  const isPhone = matchMedia("(hover: none)").matches;
  return `The library is empty. ${isPhone ? "Press Add to choose or take pictures." : "Drop pictures here to add them."}`;
}
