/** The rows of the whole list of pictures, page by page, as far as its pages are loaded; estimates of the others. */

import { PAGE_ROWS } from "../ui/pages.js";
import { layoutPage, nearestInRow, ratioOf, rowPxFor, skeletonRatio } from "./wall_layout.js";

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./wall_layout.js").WallLayout} WallLayout */

export class WallRows {
  width = 0;
  rowPx = rowPxFor(0);
  /** @type {Map<number, WallLayout>} by page of the list */
  #layouts = new Map();
  /** @type {Map<number, number>} heights of the pages that were laid out with their pictures, also of evicted ones */
  #heights = new Map();

  /**
   * @param {import("../ui/pages.js").Pages<Asset>} pages
   * @param {(asset: Asset) => boolean} isHidden a deleted picture, which keeps its index until it is gone
   */
  constructor(pages, isHidden) {
    this.pages = pages;
    this.isHidden = isHidden;
  }

  /**
   * Lay out for another width. Returns the height to expect of a page that is not loaded.
   * @param {number} width
   */
  resize(width) {
    this.width = width;
    this.rowPx = rowPxFor(width);
    this.clear();
    const pictures = Array.from({ length: PAGE_ROWS }, (_, index) => ({ index, ratio: skeletonRatio(index) }));
    return layoutPage(pictures, { width, rowPx: this.rowPx, isLast: false }).px;
  }

  /** Forget everything about the list. */
  clear() {
    this.#heights.clear();
    this.#layouts.clear();
  }

  /** Lay out again when needed: pictures were loaded, hidden or removed. */
  invalidate() {
    this.#layouts.clear();
  }

  /**
   * Return the height of a page of the list; null if its pictures were never loaded.
   * @param {number} page
   * @returns {number | null}
   */
  knownHeight(page) {
    const isLast = (page + 1) * PAGE_ROWS >= this.pages.length;
    const isLaidOut = this.pages.row(page * PAGE_ROWS) || isLast;
    return isLaidOut && this.width ? this.layout(page).px : this.#heights.get(page) ?? null;
  }

  /** @param {number} page */
  layout(page) {
    const known = this.#layouts.get(page);
    if (known) return known;
    const first = page * PAGE_ROWS;
    const length = Math.max(0, Math.min(PAGE_ROWS, this.pages.length - first));
    const pictures = Array.from({ length }, (_, offset) => this.pictureAt(first + offset));
    const isLast = first + length >= this.pages.length;
    const layout = layoutPage(
      pictures.filter((each) => each !== null), { width: this.width, rowPx: this.rowPx, isLast });
    this.#layouts.set(page, layout);
    if (this.pages.row(first)) this.#heights.set(page, layout.px);
    return layout;
  }

  /**
   * Return a picture that is not hidden, with the ratio of its place.
   * @param {number} index
   */
  pictureAt(index) {
    const asset = this.pages.row(index);
    if (asset && this.isHidden(asset)) return null;
    return { index, ratio: asset ? ratioOf(asset) : skeletonRatio(index) };
  }

  /** @param {number} index */
  rowOf(index) {
    const { rows } = this.layout(Math.floor(index / PAGE_ROWS));
    return rows.find(({ boxes }) => boxes.some((box) => box.index === index));
  }

  /**
   * Return the index of the nearest picture before or after `index` that is not hidden, or `index`.
   * @param {number} index
   * @param {1 | -1} by
   */
  neighbor(index, by) {
    for (let next = index + by; next >= 0 && next < this.pages.length; next += by) {
      if (this.pictureAt(next)) return next;
    }
    return index;
  }

  /**
   * Return the index that is `count` rows below (1) or above (-1), as near as possible to the same column.
   * @param {number} index
   * @param {1 | -1} by
   * @param {number} count
   */
  vertical(index, by, count) {
    const start = this.rowOf(index);
    const box = start?.boxes.find((each) => each.index === index);
    if (!start || !box) return index;
    let page = Math.floor(index / PAGE_ROWS);
    let { rows } = this.layout(page);
    let [at, row] = [rows.indexOf(start), start];
    for (let left = count; left > 0; ) {
      at += by;
      const next = rows[at];
      if (next) {
        row = next;
        left -= 1;
        continue;
      }
      page += by;
      if (page < 0 || page * PAGE_ROWS >= this.pages.length) break;
      ({ rows } = this.layout(page));
      at = by > 0 ? -1 : rows.length;
    }
    return nearestInRow(row, box.x + box.width / 2).index;
  }
}
