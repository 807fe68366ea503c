/** Connects a scrolling element to a VirtualScroll, and renders the visible rows. */

const SETTLE_MS = 150; // without a scroll event: the user stopped scrolling

export class Scroller {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settleTimer;

  /**
   * @param {HTMLElement} view the element that scrolls
   * @param {HTMLElement} canvas its child, as high as the list
   * @param {import("./virtual_scroll.js").VirtualScroll} scroll
   * @param {(placed: import("./virtual_scroll.js").PlacedRow[], scrollTop: number) => void} render
   * @param {number} overscan rows that are rendered beyond the view, above and below
   */
  constructor(view, canvas, scroll, render, overscan) {
    this.view = view;
    this.canvas = canvas;
    this.scroll = scroll;
    this.renderRows = render;
    this.overscan = overscan;
    view.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.onResize()).observe(view);
  }

  /** The number of rows of estimated height that fit into the view. */
  get rowsInView() {
    return Math.max(1, Math.ceil(this.scroll.viewPx / this.scroll.estimatePx));
  }

  #onScroll() {
    const { scrollTop } = this.view;
    if (Math.abs(scrollTop - this.scroll.scrollTop) < 1) return; // caused by `settle`, which sets scrollTop
    this.scroll.onScroll(scrollTop);
    this.settleSoon();
  }

  /** Render now; move the scroll bar to the position of the list when the user does not scroll any more. */
  settleSoon() {
    this.render();
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => this.settle(), SETTLE_MS);
  }

  onResize() {
    this.scroll.viewPx = this.view.clientHeight;
    this.scroll.keepPosition();
    this.settle();
  }

  /** @param {number} length */
  setLength(length) {
    if (length === this.scroll.length) return;
    this.scroll.length = length;
    this.scroll.keepPosition();
    this.settle();
  }

  /**
   * @param {number} row
   * @param {{y: number, px: number}} [part] of the row
   */
  reveal(row, part) {
    this.scroll.reveal(row, part);
    this.settle();
  }

  /** Move the scroll bar to the position of the list. */
  settle() {
    const scrollTop = this.scroll.settle();
    this.canvas.style.height = `${this.scroll.extentPx}px`;
    if (Math.abs(this.view.scrollTop - scrollTop) >= 1) this.view.scrollTop = scrollTop;
    this.scroll.scrollTop = this.view.scrollTop; // the browser rounds to device pixels
    this.render();
  }

  render() {
    this.renderRows(this.scroll.placedRows(this.overscan), this.scroll.scrollTop);
  }
}
