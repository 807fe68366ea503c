/** Renders the visible pictures of the library in a grid. */

import { altText, thumbnailUrl } from "./asset.js";
import { ComponentPool } from "./component_pool.js";
import { element, setAttribute } from "./dom.js";
import { isolate } from "./filename.js";
import { isTyping, nextIndex } from "./keys.js";
import { Scroller } from "./scroller.js";
import { VirtualScroll } from "./virtual_scroll.js";

const GAP_PX = 10;
const TILE_PX_MIN = 176;
const LARGE = { screenPx: 2400, tilePx: 240 }; // on a very wide screen, where small tiles would be too many
const OVERSCAN = 2; // rows of tiles
const THUMBNAIL_PX = [256, 512];

/** @typedef {import("./asset.js").Asset} Asset */

export class Tiles {
  cursor = 0;
  #columns = 1;
  #tilePx = TILE_PX_MIN;
  #pool;

  /**
   * @param {HTMLElement} view
   * @param {HTMLElement} canvas
   * @param {import("./pages.js").Pages<Asset>} pages
   * @param {object} handlers
   * @param {() => void} handlers.onViewChange
   * @param {(index: number) => void} handlers.onOpen
   * @param {(key: string, asset: Asset) => boolean} handlers.onKey returns true if the key is a shortcut
   */
  constructor(view, canvas, pages, handlers) {
    this.view = view;
    this.canvas = canvas;
    this.pages = pages;
    this.handlers = handlers;
    this.#pool = new ComponentPool(canvas, createTile);
    this.scroll = new VirtualScroll(TILE_PX_MIN + GAP_PX, () => null);
    this.scroller = new Scroller(view, canvas, this.scroll, (...rows) => this.#render(...rows), OVERSCAN);
    new ResizeObserver(() => this.#onResize()).observe(view);
    view.addEventListener("keydown", (event) => this.#onKey(event));
    view.addEventListener("click", (event) => this.#onClick(event));
  }

  /** Indices of the first and the last visible picture. */
  get visibleRange() {
    const rows = this.scroller.rowsInView + 2;
    const first = this.scroll.anchor.row * this.#columns;
    return { first, last: first + rows * this.#columns };
  }

  get current() {
    return this.pages.row(this.cursor);
  }

  #onResize() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const first = this.scroll.anchor.row * this.#columns;
    const minPx = width < LARGE.screenPx ? TILE_PX_MIN : LARGE.tilePx;
    this.#columns = Math.max(2, Math.floor((width + GAP_PX) / (minPx + GAP_PX)));
    this.#tilePx = Math.floor((width - (this.#columns - 1) * GAP_PX) / this.#columns);
    this.scroll.estimatePx = this.#tilePx + GAP_PX;
    this.scroll.anchor = { row: Math.floor(first / this.#columns), px: 0 };
    this.canvas.style.setProperty("--tile", `${this.#tilePx}px`);
    this.scroll.length = Math.ceil(this.pages.length / this.#columns);
    this.scroller.onResize();
  }

  /** Show another list from its top. */
  reset() {
    this.cursor = 0;
    this.scroll.anchor = { row: 0, px: 0 };
    this.onPagesChange();
  }

  onPagesChange() {
    this.cursor = Math.max(0, Math.min(this.cursor, this.pages.length - 1));
    this.scroller.setLength(Math.ceil(this.pages.length / this.#columns));
    this.scroller.render();
  }

  /**
   * @param {import("./virtual_scroll.js").PlacedRow[]} placed
   * @param {number} scrollTop
   */
  #render(placed, scrollTop) {
    /** @type {Map<number, {x: number, y: number}>} */
    const visible = new Map();
    for (const { row, y } of placed) {
      for (let column = 0; column < this.#columns; column += 1) {
        const index = row * this.#columns + column;
        if (index < this.pages.length) {
          visible.set(index, { x: column * (this.#tilePx + GAP_PX), y: Math.round(scrollTop + y) });
        }
      }
    }
    this.#pool.releaseExcept(visible);
    for (const [index, { x, y }] of visible) {
      const tile = this.#pool.acquire(index);
      tile.style.transform = `translate(${x}px, ${y}px)`;
      this.#update(tile, index);
    }
    this.#pool.detachSpare();
    setAttribute(this.view, "aria-activedescendant", visible.has(this.cursor) ? `tile-${this.cursor}` : null);
    this.handlers.onViewChange();
  }

  /**
   * @param {HTMLElement} tile
   * @param {number} index
   */
  #update(tile, index) {
    const asset = this.pages.row(index);
    const image = /** @type {HTMLElement} */ (tile.firstChild);
    setAttribute(tile, "id", `tile-${index}`);
    setAttribute(tile, "aria-posinset", index + 1);
    setAttribute(tile, "aria-setsize", this.pages.length);
    setAttribute(tile, "aria-selected", String(index === this.cursor));
    setAttribute(tile, "aria-label", asset ? altText(asset) : "Loading");
    setAttribute(tile, "data-name", asset ? isolate(asset.name) : null);
    setAttribute(tile, "data-favorite", asset?.favorite ?? null);
    setAttribute(tile, "data-duplicates", asset?.near_duplicate_count ? `+${asset.near_duplicate_count}` : null);
    setAttribute(image, "src", asset ? thumbnailUrl(asset, this.#thumbnailPx) : null);
  }

  /** The thumbnail size for the pixel density of the screen. */
  get #thumbnailPx() {
    const px = this.#tilePx * devicePixelRatio;
    return THUMBNAIL_PX.find((each) => each >= px) ?? Math.max(...THUMBNAIL_PX);
  }

  refresh() {
    this.scroller.render();
  }

  /** @param {number} index */
  moveCursor(index) {
    this.cursor = index;
    this.scroller.reveal(Math.floor(index / this.#columns));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, this.scroller.rowsInView - 1) * this.#columns;
    const position = { current: this.cursor, length: this.pages.length, page, columns: this.#columns };
    const next = nextIndex(event.key, position);
    if (next !== null) this.moveCursor(next);
    else if (event.key === "Enter" || event.key === " ") this.handlers.onOpen(this.cursor);
    else if (!this.current || !this.handlers.onKey(event.key, this.current)) return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const tile = event.target instanceof Element ? event.target.closest(".tile") : null;
    if (!tile) return;
    this.cursor = Number(tile.id.slice("tile-".length));
    this.refresh();
    this.handlers.onOpen(this.cursor);
  }
}

/** Create a tile. A picture that cannot be displayed is replaced by its name. */
function createTile() {
  const image = element("img", { alt: "", decoding: "async" });
  const tile = element("div", { class: "tile", role: "option" }, image);
  image.addEventListener("error", () => setAttribute(tile, "data-broken", true));
  image.addEventListener("load", () => setAttribute(tile, "data-broken", null));
  return tile;
}
