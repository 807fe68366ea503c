/**
 * A window on a long list: the loaded rows, the next page to request, and the row index at which its reply belongs.
 *
 * Lists are paged by key, so the index of a row is known only near the two ends. In between it is an estimate, which
 * is corrected as soon as an end of the list is loaded.
 */

export const ROWS_MIN = 200; // rows of a page; four screens if that is more

/**
 * A page to request: up to `limit` rows older than `before`, or newer than `after`, or the newest. `index` is the row
 * index of the first row of the page, or with `after` of its last row.
 * @typedef {{limit: number, before: number | null, after: number | null, index: number}} PageRequest
 */

/**
 * @param {number} limit
 * @param {Partial<PageRequest>} [fields]
 * @returns {PageRequest}
 */
function pageRequest(limit, fields = {}) {
  return { limit, before: null, after: null, index: 0, ...fields };
}

/**
 * The rows `start` to `end` of a list of `length` rows, newest first.
 * @template {{id: number}} Row
 */
export class ListWindow {
  /** @type {readonly Row[]} */
  rows = [];
  start = 0;
  isNewest = false; // the first loaded row is the first of the list
  isOldest = false; // the last loaded row is the last of the list
  /** @type {number | null} */
  #total = null;
  #newestId = 0;

  /**
   * Drop all rows: another list follows, of `total` rows if that is known.
   * @param {number | null} total
   */
  clear(total) {
    this.rows = [];
    this.start = 0;
    this.#total = total;
    this.isNewest = this.isOldest = false;
  }

  get end() {
    return this.start + this.rows.length;
  }

  /** Length of the whole list, the rows that are not loaded included. */
  get length() {
    if (this.isNewest && this.isOldest) return this.rows.length;
    return Math.max(this.end + (this.isOldest ? 0 : 1), this.#total ?? 0);
  }

  /**
   * Return the row at `index`, null if it is not loaded.
   * @param {number} index
   */
  row(index) {
    return this.rows[index - this.start] ?? null;
  }

  /**
   * Return the index of the row with this id, null if it is not loaded.
   * @param {number} id
   */
  indexOf(id) {
    const offset = this.rows.findIndex((row) => row.id === id);
    return offset < 0 ? null : this.start + offset;
  }

  /**
   * Return whether the loaded part of the list is where a row with this id would be.
   * @param {number} id
   */
  covers(id) {
    const [newest, oldest] = [this.rows[0], this.rows.at(-1)];
    if (!newest || !oldest) return true;
    return (this.isNewest || id < newest.id) && (this.isOldest || id > oldest.id);
  }

  /**
   * Return the page to load when the view starts at row `top`; null if the view and a screen around it are loaded.
   * @param {number} top
   * @param {number} height in rows
   */
  missingPage(top, height) {
    const limit = Math.max(ROWS_MIN, 4 * height);
    if (this.rows.length === 0) return this.isNewest ? null : pageRequest(limit);
    const isEnoughAbove = this.isNewest || this.start <= top - height;
    const isEnoughBelow = this.isOldest || this.end >= Math.min(top + 2 * height, this.length);
    if (top >= this.start && isEnoughAbove && isEnoughBelow && top < Math.max(this.end, 1)) return null;
    return this.#pageAt(top - Math.floor((limit - height) / 2), limit);
  }

  /**
   * Return a request for the page that starts at row `first`. A page is addressed by the id of a loaded row next to
   * it, else by an end of the list, else by an id that is estimated from the position.
   * @param {number} first
   * @param {number} limit
   */
  #pageAt(first, limit) {
    if (first <= 0) return pageRequest(limit);
    const last = Math.min(first + limit, this.length) - 1;
    const firstRow = this.row(first);
    if (firstRow !== null) return pageRequest(limit, { before: firstRow.id + 1, index: first });
    const lastRow = this.row(last);
    if (lastRow !== null) return pageRequest(limit, { after: lastRow.id - 1, index: last });
    if (last >= this.length - 1 && this.#total !== null) return pageRequest(limit, { after: 0, index: last });
    const estimatedId = Math.max(1, Math.round(this.#newestId * (1 - first / this.length))) + 1;
    return pageRequest(limit, { before: estimatedId, index: first });
  }

  /**
   * Return a request that reloads the current rows, or the newest ones if the view follows them.
   * @param {boolean} isFollowing
   * @param {number} height in rows
   */
  reloadPage(isFollowing, height) {
    const limit = Math.max(ROWS_MIN, 4 * height);
    const [first] = this.rows;
    if (isFollowing || first === undefined) return pageRequest(limit);
    return pageRequest(limit, { before: first.id + 1, index: this.start });
  }

  /**
   * Set the length of the list, null if it is unknown. Returns by how much the indices of the rows changed.
   * @param {number | null} total
   */
  setTotal(total) {
    this.#total = total;
    const start = this.start;
    this.start = this.rows.length ? this.#correctedStart(start, ROWS_MIN) : 0;
    return this.start - start;
  }

  /**
   * Replace the rows by the reply to `request`; with `isComplete` the list ends there.
   *
   * Returns by how much the indices of the rows differ from those requested, so that the view can move along.
   * @param {PageRequest} request
   * @param {readonly Row[]} rows
   * @param {boolean} isComplete
   */
  replace(request, rows, isComplete) {
    let start = request.index;
    if (request.after !== null) {
      start = request.index + 1 - rows.length;
      this.isNewest = isComplete;
      this.isOldest = request.after === 0;
    } else {
      this.isNewest = request.before === null;
      this.isOldest = isComplete;
    }
    this.rows = rows;
    this.start = this.#correctedStart(start, request.limit);
    if (this.isNewest && rows[0]) this.#newestId = rows[0].id;
    return this.start - start;
  }

  /**
   * Correct an estimated start by the ends of the list: 0 if the newest row is loaded, counted from the total if the
   * oldest is, and never 0 if neither is.
   * @param {number} start
   * @param {number} limit
   */
  #correctedStart(start, limit) {
    if (this.isNewest) return 0;
    if (this.isOldest && this.#total !== null) return Math.max(1, this.#total - this.rows.length);
    return start > 0 ? start : limit;
  }
}
