/** Ties a scrolling element to the map of a long list: whoever draws is told which rows stand where. */

const REST_MS = 150;

export class Scroller {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #rest;

  /**
   * @param {HTMLElement} view scrolls
   * @param {HTMLElement} canvas in it, as high as the list
   * @param {import("./scrollmap.js").ScrollMap} map
   * @param {(placed: import("./scrollmap.js").Placed[], at: number) => void} draw at: the scroll bar's number
   * @param {number} overscan rows that are drawn beyond the view, above and below
   */
  constructor(view, canvas, map, draw, overscan) {
    this.view = view;
    this.canvas = canvas;
    this.map = map;
    this.draw = draw;
    this.overscan = overscan;
    view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(view);
  }

  /** How many rows of the usual height fit. */
  get rowsInView() {
    return Math.max(1, Math.ceil(this.map.viewPx / this.map.estimatePx));
  }

  #scrolled() {
    const { scrollTop } = this.view;
    if (Math.abs(scrollTop - this.map.at) < 1) return; // that was ourselves
    this.map.scrolled(scrollTop);
    this.show();
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.settle(), REST_MS);
  }

  /** The view has another size. */
  resized() {
    this.map.viewPx = this.view.clientHeight;
    this.map.hold();
    this.settle();
  }

  /** @param {number} length */
  setLength(length) {
    if (length === this.map.length) return;
    this.map.length = length;
    this.map.hold();
    this.settle();
  }

  /** @param {number} row */
  reveal(row) {
    this.map.reveal(row);
    this.settle();
  }

  /** The scroll bar says where the list is. */
  settle() {
    const at = this.map.settle();
    this.canvas.style.height = `${this.map.extentPx}px`;
    if (Math.abs(this.view.scrollTop - at) >= 1) this.view.scrollTop = at;
    this.map.at = this.view.scrollTop;
    this.show();
  }

  show() {
    this.draw(this.map.placed(this.overscan), this.map.at);
  }
}
