/**
 * Where the rows of a long list stand, when they are of different heights and most of them have never been seen.
 *
 * The truth is an anchor: the row at the top of the view, and how many pixels of it are above. A scroll bar only knows
 * a number of pixels, and a browser's element ends near 33 million of them, so that number is a map of the list and
 * not the list: a small movement moves the anchor by as many pixels, a large one jumps to its share of the list, and
 * at rest the scroll bar is told where the anchor really is.
 */

export const EXTENT_PX_MAX = 15_000_000;
const EXACT_ROWS = 200; // near the anchor whose heights are summed up; those beyond are estimated
const STEP_VIEWS = 3; // a movement of more views than these is a jump
const RATIO = { least: 0.5, most: 1.5 };

/** @typedef {{row: number, y: number, px: number}} Placed a row, its distance from the top of the view, its height */

export class ScrollMap {
  length = 0;
  viewPx = 0;
  /** The scroll bar's number, and the height that it shows: the latter only changes in `settle`. */
  at = 0;
  extentPx = 0;
  anchor = { row: 0, px: 0 };
  #isAtEnd = false; // whoever looks at the end goes on doing so while rows turn out higher than was thought

  /**
   * @param {number} estimatePx of a row that is not known
   * @param {(row: number) => number | null} measured the height of a row, null where it is not known
   */
  constructor(estimatePx, measured) {
    this.estimatePx = estimatePx;
    this.measured = measured;
  }

  /** @param {number} row */
  heightOf(row) {
    return this.measured(row) ?? this.estimatePx;
  }

  get isCompressed() {
    return this.length * this.estimatePx > EXTENT_PX_MAX;
  }

  /** How much of the list is above the view. */
  abovePx() {
    const { row, px } = this.anchor;
    const exact = Math.max(0, row - EXACT_ROWS);
    return exact * this.estimatePx + this.#sum(exact, row) + px;
  }

  /** How much of the list is below the view. */
  belowPx() {
    const { row, px } = this.anchor;
    const exact = Math.min(this.length, row + EXACT_ROWS);
    const rest = this.#sum(row, exact) + (this.length - exact) * this.estimatePx;
    return Math.max(0, rest - px - this.viewPx);
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #sum(from, to) {
    let px = 0;
    for (let row = from; row < to; row += 1) px += this.heightOf(row);
    return px;
  }

  /**
   * The user has moved the scroll bar to `at`.
   * @param {number} at
   */
  scrolled(at) {
    const range = this.extentPx - this.viewPx;
    const by = at - this.at;
    const [above, below] = [this.abovePx(), this.belowPx()];
    if (Math.abs(by) > STEP_VIEWS * this.viewPx) this.#jump(at >= range - 1 ? 1 : at / range);
    else if (by < 0) this.move(by * this.#ratio(above, this.at));
    else if (by > 0) this.move(by * this.#ratio(below, range - this.at));
    this.at = at;
    this.#isAtEnd = this.belowPx() < 1 && this.abovePx() > 0;
  }

  /** Heights or lengths are others now: stay where it was. */
  hold() {
    this.move(this.#isAtEnd ? Infinity : 0);
  }

  /**
   * How many pixels of the list one of the scroll bar stands for, so that both come to their end together.
   * @param {number} truePx
   * @param {number} barPx
   */
  #ratio(truePx, barPx) {
    if (this.isCompressed && truePx > STEP_VIEWS * this.viewPx) return 1;
    const ratio = barPx <= 0 ? RATIO.most : Math.min(RATIO.most, Math.max(RATIO.least, truePx / barPx));
    return Math.abs(ratio - 1) < 0.001 ? 1 : ratio;
  }

  /** @param {number} share */
  #jump(share) {
    const px = Math.round(Math.min(1, Math.max(0, share)) * Math.max(0, this.length * this.estimatePx - this.viewPx));
    const row = Math.floor(px / this.estimatePx);
    this.anchor = { row, px: px - row * this.estimatePx };
    if (share >= 1) this.move(Infinity);
    this.move(0);
  }

  /**
   * Move the list by so many of its own pixels, as far as it goes.
   * @param {number} px
   */
  move(px) {
    if (px === Infinity || this.anchor.row >= this.length) {
      this.anchor = { row: Math.max(0, this.length - 1), px: 0 };
      this.anchor.px = this.length ? this.heightOf(this.anchor.row) - this.viewPx : 0;
    } else {
      this.anchor.px += px;
    }
    this.#settleAnchor();
    const below = this.belowPx();
    const missing = this.viewPx - this.#sum(this.anchor.row, Math.min(this.length, this.anchor.row + EXACT_ROWS));
    if (below === 0 && missing + this.anchor.px > 0) {
      this.anchor.px = -missing; // the last row stands at the foot
      this.#settleAnchor();
    }
  }

  /** The anchor is the row at the top again, and no row above the first. */
  #settleAnchor() {
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
   * The rows have other numbers now: what is looked at stays where it is.
   * @param {number} by
   */
  renumber(by) {
    if (this.anchor.row > 0 || this.anchor.px > 0) this.anchor.row = Math.max(0, this.anchor.row + by);
    this.hold();
  }

  /** Where the scroll bar belongs, now that nobody moves it. */
  settle() {
    const [above, below] = [this.abovePx(), this.belowPx()];
    this.extentPx = Math.min(EXTENT_PX_MAX, above + below + this.viewPx);
    const range = this.extentPx - this.viewPx;
    this.at = above + below > 0 ? Math.round((above / (above + below)) * range) : 0;
    return this.at;
  }

  /**
   * Move as little as it takes to see the whole of a row.
   * @param {number} row
   */
  reveal(row) {
    if (row <= this.anchor.row) {
      this.anchor = { row, px: 0 };
    } else {
      const reach = Math.min(row, this.anchor.row + EXACT_ROWS);
      const y = this.#sum(this.anchor.row, reach) + (row - reach) * this.estimatePx - this.anchor.px;
      const over = y + this.heightOf(row) - this.viewPx;
      if (over > 0) {
        this.anchor = { row, px: this.heightOf(row) - this.viewPx };
      }
    }
    this.move(0);
    this.#isAtEnd = row === this.length - 1 && this.abovePx() > 0;
  }

  /**
   * The rows in view and `overscan` more on either side.
   * @param {number} overscan
   * @returns {Placed[]}
   */
  placed(overscan) {
    const first = Math.max(0, this.anchor.row - overscan);
    let y = -this.anchor.px - this.#sum(first, this.anchor.row);
    /** @type {Placed[]} */
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
