/** The wall: renders the visible pictures of the library in justified rows, and moves the cursor. */

import { THUMBNAIL_PX, altText, isVideo, thumbnailUrl } from "./asset.js";
import { ComponentPool } from "../ui/component_pool.js";
import { element, setAttribute, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { isTyping } from "../ui/keys.js";
import { PAGE_ROWS } from "../ui/pages.js";
import { createPicture, setPicture } from "./picture.js";
import { Scroller } from "../ui/scroller.js";
import { dragOriginal } from "./take_out.js";
import { TileOverlay } from "./tile_overlay.js";
import { VirtualScroll } from "../ui/virtual_scroll.js";
import { WallRows } from "./wall_rows.js";

const OVERSCAN_PX = 240; // rendered beyond the view, above and below
const SIDES_PX = [THUMBNAIL_PX, 512];

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{id: string | null, x: number, y: number, width: number, px: number}} Place `y` from the top of the view, `px` the height */

export class Wall {
  cursor = 0;
  /** @type {string | null} id of the picture that the user moved the cursor to */
  #cursorId = null;
  view;
  canvas;
  #pool;
  /** @type {Map<number, Place>} the rendered pictures by index */
  #places = new Map();
  /** @type {string | null | undefined} id of the asset that the pointer was pressed on; undefined for no pointer */
  #pressedId;

  /**
   * @param {HTMLElement} root
   * @param {import("../ui/pages.js").Pages<Asset>} pages
   * @param {object} handlers
   * @param {(asset: Asset) => boolean} handlers.isHidden a deleted picture, which keeps its index until it is gone
   * @param {() => void} handlers.onViewChange
   * @param {(asset: Asset) => void} handlers.onCopy
   * @param {(asset: Asset) => void} handlers.onFavorite
   * @param {(asset: Asset) => void} handlers.onGroup shows the pictures of a stack
   * @param {(index: number) => void} handlers.onOpen
   * @param {(asset: Asset) => boolean} handlers.isSelected
   * @param {(key: string, asset: Asset) => boolean} handlers.onKey returns true if the key is a shortcut
   */
  constructor(root, pages, handlers) {
    this.pages = pages;
    this.rows = new WallRows(pages, handlers.isHidden);
    this.handlers = handlers;
    this.canvas = element("div", { id: "tiles-canvas", role: "presentation" });
    this.view = element(
      "div", { id: "tiles", class: "scroll", role: "listbox", "aria-label": "Pictures", tabindex: 0 }, this.canvas);
    root.append(this.view);
    this.#pool = new ComponentPool(this.canvas, createTile);
    this.scroll = new VirtualScroll(1, (page) => this.rows.knownHeight(page));
    this.scroller = new Scroller(this.view, this.canvas, this.scroll, (...rows) => this.#render(...rows), 1);
    new ResizeObserver(() => this.#onResize()).observe(this.view);
    this.view.addEventListener("keydown", (event) => this.#onKey(event));
    this.view.addEventListener("pointerdown", (event) => (this.#pressedId = this.#idAt(event)));
    this.view.addEventListener("click", (event) => this.#onClick(event));
    this.view.addEventListener("dragstart", (event) => this.#onDragStart(event));
    this.overlay = new TileOverlay(this.view, { ...handlers, assetOf: (tile) => this.pages.row(indexOf(tile)) });
  }

  /** Indices of the first and the last picture to load: the pages in view and the next one. */
  get neededRange() {
    const pages = this.scroll.placedRows(1).map(({ row }) => row);
    return { first: this.scroll.anchor.row * PAGE_ROWS, last: ((pages.at(-1) ?? 0) + 1) * PAGE_ROWS - 1 };
  }

  get isAtTop() {
    return this.scroll.anchor.row === 0 && this.scroll.anchor.px === 0;
  }

  /** The picture at the top left of the view, and its index; null if it is not loaded. */
  get first() {
    for (const [index, { y, px }] of this.#places) {
      const asset = this.pages.row(index);
      if (y + px / 2 >= 0) return asset && { index, asset };
    }
    return null;
  }

  get current() {
    return this.pages.row(this.cursor);
  }

  #onResize() {
    const width = this.canvas.clientWidth;
    if (!width || width === this.rows.width) return;
    this.#change(() => (this.scroll.estimatePx = this.rows.resize(width)));
    this.scroller.onResize();
  }

  /** Start at the top of another list; `onPagesChange` shows it. */
  reset() {
    this.#setCursor(null);
    this.rows.clear();
    this.#places.clear();
    this.scroll.anchor = { row: 0, px: 0 };
  }

  /** Show pages that were loaded or changed. The cursor stays at its picture, and what is in view at its place. */
  onPagesChange() {
    const moved = this.#indexOfId(this.#cursorId);
    this.cursor = Math.max(0, Math.min(moved ?? this.cursor, this.pages.length - 1));
    const { current } = this;
    if (current && this.handlers.isHidden(current)) {
      const after = this.rows.neighbor(this.cursor, 1);
      this.#setCursor(after === this.cursor ? this.rows.neighbor(this.cursor, -1) : after);
    }
    this.#change(() => {});
    this.scroller.setLength(Math.ceil(this.pages.length / PAGE_ROWS));
    this.scroller.settleSoon();
  }

  /**
   * Change the layout, but not the place of the first loaded picture in view.
   * @param {() => void} apply
   */
  #change(apply) {
    apply();
    this.rows.invalidate();
    const pinned = this.isAtTop ? null : this.#pinned();
    const row = pinned && this.rows.rowOf(pinned.index);
    if (row && pinned) {
      this.scroll.anchor = { row: Math.floor(pinned.index / PAGE_ROWS), px: row.y - pinned.y };
    }
    this.scroll.keepPosition();
  }

  /** Return the first picture in view that had been loaded, else the cursor, with its index now and its old place. */
  #pinned() {
    let atCursor = null;
    for (const [oldIndex, { id, y, px }] of this.#places) {
      if (y + px <= 0 || y >= this.scroll.viewPx) continue;
      const index = this.#indexOfId(id);
      if (index !== null && this.rows.pictureAt(index)) return { index, y };
      if (oldIndex === this.cursor) atCursor = { index: oldIndex, y };
    }
    return atCursor;
  }

  /** @param {string | null} id */
  #indexOfId(id) {
    const index = id === null ? -1 : this.pages.findIndex((asset) => asset.id === id);
    return index < 0 ? null : index;
  }

  /** @param {number | null} index null for a new list */
  #setCursor(index) {
    this.cursor = index ?? 0;
    this.#cursorId = index === null ? null : this.pages.row(index)?.id ?? null;
  }

  /**
   * @param {import("../ui/virtual_scroll.js").PlacedRow[]} placed
   * @param {number} scrollTop
   */
  #render(placed, scrollTop) {
    if (!this.rows.width) return;
    this.#places = new Map();
    for (const { row: page, y: top } of placed) {
      for (const { y, px, boxes } of this.rows.layout(page).rows) {
        if (top + y + px < -OVERSCAN_PX || top + y > this.scroll.viewPx + OVERSCAN_PX) continue;
        for (const { index, x, width } of boxes) {
          this.#places.set(index, { id: this.pages.row(index)?.id ?? null, x, y: top + y, width, px });
        }
      }
    }
    this.#pool.releaseExcept(this.#places);
    for (const [index, { x, y, width, px }] of this.#places) {
      const tile = this.#pool.acquire(index);
      setStyle(tile, `width: ${width}px; height: ${px}px; transform: translate(${x}px, ${Math.round(scrollTop + y)}px);`);
      this.#update(tile, index, Math.max(width, px));
    }
    this.#pool.detachSpare();
    setAttribute(this.view, "aria-activedescendant", this.#places.has(this.cursor) ? `tile-${this.cursor}` : null);
    this.overlay.update();
    this.handlers.onViewChange();
  }

  /**
   * @param {HTMLElement} tile
   * @param {number} index
   * @param {number} px the longer side of its place
   */
  #update(tile, index, px) {
    const asset = this.pages.row(index);
    const image = /** @type {HTMLImageElement} */ (tile.firstChild);
    setAttribute(tile, "id", `tile-${index}`);
    setAttribute(tile, "aria-posinset", index + 1);
    setAttribute(tile, "aria-setsize", this.pages.length);
    setAttribute(tile, "aria-selected", String(asset !== null && this.handlers.isSelected(asset)));
    setAttribute(tile, "data-cursor", index === this.cursor);
    setAttribute(tile, "aria-label", asset ? altText(asset) : "Loading");
    setAttribute(tile, "data-name", asset ? isolate(asset.name) : null);
    setAttribute(tile, "data-selected", asset !== null && this.handlers.isSelected(asset));
    setAttribute(tile, "data-badge", (asset && badgeOf(asset)) || null);
    showStack(tile, asset?.near_duplicate_count ?? 0);
    setPicture(image, asset ? thumbnailUrl(asset, thumbnailPx(px)) : null);
  }

  refresh() {
    this.scroller.render();
  }

  /** @param {number} index */
  moveCursor(index) {
    this.#setCursor(index);
    const row = this.rows.rowOf(index);
    if (row) this.scroller.reveal(Math.floor(index / PAGE_ROWS), row);
  }

  /**
   * Scroll a picture to the top of the view.
   * @param {number} index
   */
  jumpTo(index) {
    const row = index < this.pages.length && this.rows.width ? this.rows.rowOf(index) : undefined;
    if (!row) return;
    this.scroll.anchor = { row: Math.floor(index / PAGE_ROWS), px: row.y };
    this.scroll.keepPosition();
    this.scroller.settle();
  }

  /**
   * Return the rendered pictures in a box, in pixels of the window.
   * @param {{left: number, right: number, top: number, bottom: number}} box
   * @returns {Asset[]}
   */
  assetsIn(box) {
    const { x, y } = this.view.getBoundingClientRect();
    return [...this.#places].flatMap(([index, place]) => {
      const [left, top] = [x + place.x, y + place.y];
      const isInside = left < box.right && left + place.width > box.left && top < box.bottom && top + place.px > box.top;
      const asset = isInside ? this.pages.row(index) : null;
      return asset ? [asset] : [];
    });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = this.#indexAfter(event.key);
    if (next !== null) this.moveCursor(next);
    else if (event.key === "Enter" || event.key === " ") this.handlers.onOpen(this.cursor);
    else if (!this.current || !this.handlers.onKey(event.key, this.current)) return;
    event.preventDefault();
  }

  /**
   * Return the index that a navigation key leads to, null for any other key.
   * @param {string} key
   */
  #indexAfter(key) {
    const screen = Math.max(1, Math.floor(this.scroll.viewPx / this.rows.rowPx) - 1);
    switch (this.pages.length ? key : "") {
      case "Home": return this.rows.neighbor(-1, 1);
      case "End": return this.rows.neighbor(this.pages.length, -1);
      case "ArrowLeft": return this.rows.neighbor(this.cursor, -1);
      case "ArrowRight": return this.rows.neighbor(this.cursor, 1);
      case "ArrowUp": return this.rows.vertical(this.cursor, -1, 1);
      case "ArrowDown": return this.rows.vertical(this.cursor, 1, 1);
      case "PageUp": return this.rows.vertical(this.cursor, -1, screen);
      case "PageDown": return this.rows.vertical(this.cursor, 1, screen);
      default: return null;
    }
  }

  /** @param {MouseEvent} event */
  #idAt(event) {
    const index = indexAt(event);
    return index === null ? null : this.pages.row(index)?.id ?? null;
  }

  /** @param {DragEvent} event */
  #onDragStart(event) {
    const index = indexAt(event);
    const asset = index === null ? null : this.pages.row(index);
    if (asset) dragOriginal(event, asset);
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const index = indexAt(event);
    const pressedId = this.#pressedId;
    this.#pressedId = undefined;
    // A reply can put another picture under a pressed pointer; that one was not clicked.
    if (index === null || (pressedId !== undefined && pressedId !== this.#idAt(event))) return;
    this.#setCursor(index);
    this.refresh();
    const isOnCount = event.target instanceof Element && event.target.matches(".stack-count");
    if (isOnCount && this.current) this.handlers.onGroup(this.current);
    else this.handlers.onOpen(this.cursor);
  }
}

/** @param {Asset} asset */
function badgeOf(asset) {
  const kind = isVideo(asset) ? "VIDEO" : asset.mime === "image/gif" ? "GIF" : "";
  return [asset.favorite ? "★" : "", kind].filter(Boolean).join("  ");
}

/**
 * Draw a tile as a stack with the number of pictures below it, which a click shows. The overlay has the same as a
 * button: an option of a listbox contains none.
 * @param {HTMLElement} tile
 * @param {number} count 0 for a single picture
 */
function showStack(tile, count) {
  const shown = tile.querySelector(".stack-count");
  setAttribute(tile, "data-stack", count > 0);
  if (!count) shown?.remove();
  else if (shown) setText(shown, `+${count}`);
  else tile.append(element("span", { class: "stack-count", "aria-hidden": "true" }, `+${count}`));
}

/**
 * Return the thumbnail size for the pixel density of the screen.
 * @param {number} px the longer side of the place
 */
function thumbnailPx(px) {
  const wanted = px * devicePixelRatio * 0.9;
  return SIDES_PX.find((each) => each >= wanted) ?? Math.max(...SIDES_PX);
}

/**
 * Set the inline style, unless it is the same. Not by attribute, which the Content-Security-Policy forbids.
 * @param {HTMLElement} tile
 * @param {string} text as the browser serializes it
 */
function setStyle({ style }, text) {
  if (style.cssText !== text) style.cssText = text;
}

/**
 * Return the index of the tile under the pointer.
 * @param {MouseEvent} event
 */
function indexAt(event) {
  const tile = event.target instanceof Element ? event.target.closest(".tile") : null;
  return tile && indexOf(tile);
}

/** @param {Element} tile */
function indexOf(tile) {
  return Number(tile.id.slice("tile-".length));
}

/** Create a tile. A picture that cannot be displayed is replaced by its name. */
function createTile() {
  return element("div", { class: "tile", role: "option" }, createPicture({ alt: "" }));
}
