/**
 * Maps the scroll bar to the rows of a long list, when rows differ in height and most of them were never measured.
 *
 * The position is an anchor: the row at the top of the view, and how many of its pixels are above the view. It is not
 * `scrollTop`, because browsers limit the height of an element to about 33 million pixels: a million rows do not fit.
 * So a small scroll movement moves the anchor by as many pixels, a large one jumps to the same share of the list, and
 * when scrolling ends `scrollTop` is set to where the anchor really is.
 */

export const EXTENT_PX_MAX = 15_000_000;
const EXACT_ROWS = 200; // rows near the anchor whose heights are summed up; those beyond are estimated
const JUMP_VIEWS = 3; // a movement of more views than this is a jump
const RATIO = { min: 0.5, max: 1.5 };

/** @typedef {{row: number, y: number, px: number}} PlacedRow `y` from the top of the view, `px` the height */

export class VirtualScroll {
  length = 0;
  viewPx = 0;
  scrollTop = 0;
  extentPx = 0; // the height of the scrolled element; changes only in `settle`
  anchor = { row: 0, px: 0 };
  #isAtEnd = false; // then the view stays at the end while rows turn out to be higher than estimated

  /**
   * @param {number} estimatePx height of a row that was not measured
   * @param {(row: number) => number | null} measuredHeight null if the row was not measured
   */
  constructor(estimatePx, measuredHeight) {
    this.estimatePx = estimatePx;
    this.measuredHeight = measuredHeight;
  }

  /** @param {number} row */
  heightOf(row) {
    return this.measuredHeight(row) ?? this.estimatePx;
  }

  get isCompressed() {
    return this.length * this.estimatePx > EXTENT_PX_MAX;
  }

  /** Return the height of the list above the view. */
  abovePx() {
    const { row, px } = this.anchor;
    const exact = Math.max(0, row - EXACT_ROWS);
    return exact * this.estimatePx + this.#sumHeights(exact, row) + px;
  }

  /** Return the height of the list below the view. */
  belowPx() {
    const { row, px } = this.anchor;
    const exact = Math.min(this.length, row + EXACT_ROWS);
    const rest = this.#sumHeights(row, exact) + (this.length - exact) * this.estimatePx;
    return Math.max(0, rest - px - this.viewPx);
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #sumHeights(from, to) {
    let px = 0;
    for (let row = from; row < to; row += 1) px += this.heightOf(row);
    return px;
  }

  /**
   * Handle a scroll event: the user moved the scroll bar to `scrollTop`.
   * @param {number} scrollTop
   */
  onScroll(scrollTop) {
    const range = this.extentPx - this.viewPx;
    const deltaPx = scrollTop - this.scrollTop;
    const [above, below] = [this.abovePx(), this.belowPx()];
    if (Math.abs(deltaPx) > JUMP_VIEWS * this.viewPx) this.#jumpTo(scrollTop >= range - 1 ? 1 : scrollTop / range);
    else if (deltaPx < 0) this.scrollBy(deltaPx * this.#ratio(above, this.scrollTop));
    else if (deltaPx > 0) this.scrollBy(deltaPx * this.#ratio(below, range - this.scrollTop));
    this.scrollTop = scrollTop;
    this.#isAtEnd = this.belowPx() < 1 && this.abovePx() > 0;
  }

  /** Keep the position after heights or the length changed. */
  keepPosition() {
    this.scrollBy(this.#isAtEnd ? Infinity : 0);
  }

  /**
   * Return how many pixels of the list one pixel of the scroll bar moves, so that both reach their ends together.
   * @param {number} listPx left in this direction
   * @param {number} barPx left in this direction
   */
  #ratio(listPx, barPx) {
    if (this.isCompressed && listPx > JUMP_VIEWS * this.viewPx) return 1;
    const ratio = barPx <= 0 ? RATIO.max : Math.min(RATIO.max, Math.max(RATIO.min, listPx / barPx));
    return Math.abs(ratio - 1) < 0.001 ? 1 : ratio;
  }

  /** @param {number} share of the list, 0 to 1 */
  #jumpTo(share) {
    const px = Math.round(Math.min(1, Math.max(0, share)) * Math.max(0, this.length * this.estimatePx - this.viewPx));
    const row = Math.floor(px / this.estimatePx);
    this.anchor = { row, px: px - row * this.estimatePx };
    if (share >= 1) this.scrollBy(Infinity);
    this.scrollBy(0);
  }

  /**
   * Move the view by pixels of the list, at most to its ends. Infinity moves to the end.
   * @param {number} px
   */
  scrollBy(px) {
    if (px === Infinity || this.anchor.row >= this.length) {
      this.anchor = { row: Math.max(0, this.length - 1), px: 0 };
      this.anchor.px = this.length ? this.heightOf(this.anchor.row) - this.viewPx : 0;
    } else {
      this.anchor.px += px;
    }
    this.#normalizeAnchor();
    const below = this.belowPx();
    const exact = Math.min(this.length, this.anchor.row + EXACT_ROWS);
    const missing = this.viewPx - this.#sumHeights(this.anchor.row, exact);
    if (below === 0 && missing + this.anchor.px > 0) {
      this.anchor.px = -missing; // the last row ends at the bottom of the view
      this.#normalizeAnchor();
    }
  }

  /** Make the anchor the row at the top of the view again, not above the first row. */
  #normalizeAnchor() {
    const { anchor } = this;
    while (anchor.px < 0 && anchor.row > 0) {
      anchor.row -= 1;
      anchor.px += this.heightOf(anchor.row);
    }
    while (anchor.row < this.length - 1 && anchor.px >= this.heightOf(anchor.row)) {
      anchor.px -= this.heightOf(anchor.row);
      anchor.row += 1;
    }
    anchor.px = Math.max(0, anchor.px);
  }

  /**
   * Move the anchor along when the indices of all rows changed. A view at the top stays at the top.
   * @param {number} by
   */
  shiftRows(by) {
    if (this.anchor.row > 0 || this.anchor.px > 0) this.anchor.row = Math.max(0, this.anchor.row + by);
    this.keepPosition();
  }

  /** Compute the extent and the scroll bar position that belong to the anchor. Returns the position. */
  settle() {
    const [above, below] = [this.abovePx(), this.belowPx()];
    this.extentPx = Math.min(EXTENT_PX_MAX, above + below + this.viewPx);
    const range = this.extentPx - this.viewPx;
    this.scrollTop = above + below > 0 ? Math.round((above / (above + below)) * range) : 0;
    return this.scrollTop;
  }

  /**
   * Scroll as little as possible to make a row, or a part of it, entirely visible.
   * @param {number} row
   * @param {{y: number, px: number}} [part] `y` from the top of the row
   */
  reveal(row, part = { y: 0, px: this.heightOf(row) }) {
    if (row < this.anchor.row || (row === this.anchor.row && part.y <= this.anchor.px)) {
      this.anchor = { row, px: part.y };
    } else {
      const exact = Math.min(row, this.anchor.row + EXACT_ROWS);
      const y = this.#sumHeights(this.anchor.row, exact) + (row - exact) * this.estimatePx - this.anchor.px;
      const hiddenPx = y + part.y + part.px - this.viewPx;
      if (hiddenPx > 0) {
        this.anchor = { row, px: part.y + part.px - this.viewPx };
      }
    }
    this.scrollBy(0);
    this.#isAtEnd = row === this.length - 1 && this.belowPx() < 1 && this.abovePx() > 0;
  }

  /**
   * Return the visible rows and `overscan` more above and below.
   * @param {number} overscan
   * @returns {PlacedRow[]}
   */
  placedRows(overscan) {
    const first = Math.max(0, this.anchor.row - overscan);
    let y = -this.anchor.px - this.#sumHeights(first, this.anchor.row);
    /** @type {PlacedRow[]} */
    const placed = [];
    let beyond = 0;
    for (let row = first; row < this.length; row += 1) {
      if (y >= this.viewPx && (beyond += 1) > overscan) break;
      const px = this.heightOf(row);
      placed.push({ row, y, px });
      y += px;
    }
    return placed;
  }
}
