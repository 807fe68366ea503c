/** The pictures on the screen: as many elements as are in view, in rows of as many as fit, used again and again. */

import { described, thumbnail } from "./asset.js";
import { element, put } from "./element.js";
import { isTyping, led } from "./keys.js";
import { isolated } from "./names.js";
import { Scroller } from "./scroller.js";
import { ScrollMap } from "./scrollmap.js";

const GAP_PX = 10;
const TILE_PX = 176; // at least
const LARGE = { screenPx: 2400, tilePx: 240 }; // on a screen so wide that small ones would be very many
const OVERSCAN = 2; // rows of pictures
const THUMBNAIL_PX = [256, 512];

/** @typedef {import("./asset.js").Asset} Asset */

export class Tiles {
  cursor = 0;
  #columns = 1;
  #tilePx = TILE_PX;
  /** @type {Map<number, HTMLElement>} the elements in use by number */
  #used = new Map();
  /** @type {HTMLElement[]} */
  #spare = [];

  /**
   * @param {HTMLElement} view
   * @param {HTMLElement} canvas
   * @param {import("./pages.js").Pages<Asset>} pages
   * @param {object} owner
   * @param {() => void} owner.looked
   * @param {(number: number) => void} owner.opened
   * @param {(key: string, asset: Asset) => boolean} owner.pressed whether the key meant something
   */
  constructor(view, canvas, pages, owner) {
    this.view = view;
    this.canvas = canvas;
    this.pages = pages;
    this.owner = owner;
    this.map = new ScrollMap(TILE_PX + GAP_PX, () => null);
    this.scroller = new Scroller(view, canvas, this.map, (placed, at) => this.#draw(placed, at), OVERSCAN);
    new ResizeObserver(() => this.#resized()).observe(view);
    view.addEventListener("keydown", (event) => this.#pressed(event));
    view.addEventListener("click", (event) => this.#clicked(event));
  }

  /** The first and the last picture that are looked at. */
  get lookedAt() {
    const rows = this.scroller.rowsInView + 2;
    const first = this.map.anchor.row * this.#columns;
    return { first, last: first + rows * this.#columns };
  }

  get current() {
    return this.pages.row(this.cursor);
  }

  #resized() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const first = this.map.anchor.row * this.#columns;
    const leastPx = width < LARGE.screenPx ? TILE_PX : LARGE.tilePx;
    this.#columns = Math.max(2, Math.floor((width + GAP_PX) / (leastPx + GAP_PX)));
    this.#tilePx = Math.floor((width - (this.#columns - 1) * GAP_PX) / this.#columns);
    this.map.estimatePx = this.#tilePx + GAP_PX;
    this.map.anchor = { row: Math.floor(first / this.#columns), px: 0 };
    this.canvas.style.setProperty("--tile", `${this.#tilePx}px`);
    this.map.length = Math.ceil(this.pages.length / this.#columns);
    this.scroller.resized();
  }

  /** Other pictures. */
  begin() {
    this.cursor = 0;
    this.map.anchor = { row: 0, px: 0 };
    this.moved();
  }

  moved() {
    this.cursor = Math.max(0, Math.min(this.cursor, this.pages.length - 1));
    this.scroller.setLength(Math.ceil(this.pages.length / this.#columns));
    this.scroller.show();
  }

  /**
   * @param {import("./scrollmap.js").Placed[]} placed
   * @param {number} at
   */
  #draw(placed, at) {
    /** @type {Map<number, {x: number, y: number}>} */
    const wanted = new Map();
    for (const { row, y } of placed) {
      for (let column = 0; column < this.#columns; column += 1) {
        const number = row * this.#columns + column;
        if (number < this.pages.length) {
          wanted.set(number, { x: column * (this.#tilePx + GAP_PX), y: Math.round(at + y) });
        }
      }
    }
    for (const [number, used] of this.#used) {
      if (wanted.has(number)) continue;
      this.#used.delete(number);
      this.#spare.push(used);
    }
    for (const [number, { x, y }] of wanted) {
      const used = this.#used.get(number) ?? this.#taken(number);
      used.style.transform = `translate(${x}px, ${y}px)`;
      this.#fill(used, number);
    }
    this.#spare.forEach((left) => left.remove()); // out of the page, but kept for the next frame
    put(this.view, "aria-activedescendant", wanted.has(this.cursor) ? `tile-${this.cursor}` : null);
    this.owner.looked();
  }

  /** @param {number} number */
  #taken(number) {
    let taken = this.#spare.pop();
    if (!taken) {
      const image = element("img", { alt: "", decoding: "async" });
      const made = element("div", { class: "tile", role: "option" }, image);
      image.addEventListener("error", () => put(made, "data-broken", true)); // then its name stands in its place
      image.addEventListener("load", () => put(made, "data-broken", null));
      taken = made;
    }
    if (!taken.isConnected) this.canvas.append(taken);
    this.#used.set(number, taken);
    return taken;
  }

  /**
   * @param {HTMLElement} used
   * @param {number} number
   */
  #fill(used, number) {
    const asset = this.pages.row(number);
    const image = /** @type {HTMLElement} */ (used.firstChild);
    put(used, "id", `tile-${number}`);
    put(used, "aria-posinset", number + 1);
    put(used, "aria-setsize", this.pages.length);
    put(used, "aria-selected", String(number === this.cursor));
    put(used, "aria-label", asset ? described(asset) : "not read yet");
    put(used, "data-name", asset ? isolated(asset.name) : null);
    put(used, "data-favorite", asset?.favorite ?? null);
    put(used, "data-others", asset?.others ? `+${asset.others}` : null);
    put(image, "src", asset ? thumbnail(asset, this.#thumbnailPx) : null);
  }

  /** As sharp as the screen is. */
  get #thumbnailPx() {
    const px = this.#tilePx * devicePixelRatio;
    return THUMBNAIL_PX.find((each) => each >= px) ?? Math.max(...THUMBNAIL_PX);
  }

  refresh() {
    this.scroller.show();
  }

  /** @param {number} number */
  go(number) {
    this.cursor = number;
    this.scroller.reveal(Math.floor(number / this.#columns));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (isTyping(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, this.scroller.rowsInView - 1) * this.#columns;
    const to = led(event.key, { at: this.cursor, length: this.pages.length, page, columns: this.#columns });
    if (to !== null) this.go(to);
    else if (event.key === "Enter" || event.key === " ") this.owner.opened(this.cursor);
    else if (!this.current || !this.owner.pressed(event.key, this.current)) return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const tile = event.target instanceof Element ? event.target.closest(".tile") : null;
    if (!tile) return;
    this.cursor = Number(tile.id.slice("tile-".length));
    this.refresh();
    this.owner.opened(this.cursor);
  }
}
