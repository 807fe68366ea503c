/**
 * The selected items of a list: one range of ids, and single items that differ from it.
 *
 * A list may have a million rows of which a few hundred are loaded. Lists are ordered by id, so a range of ids also
 * covers rows that were never loaded; "select all" is the range from the first to the last id.
 */

/** @typedef {{minId: number, maxId: number, rows: number}} IdRange both ends included; `rows` may be an estimate */

export class Selection {
  /** @type {IdRange | null} */
  range = null;
  /** @type {Set<number>} ids selected outside the range, or deselected inside it */
  #exceptions = new Set();
  /** @type {{id: number, row: number} | null} where a range selection starts */
  anchor = null;

  /** @param {number} id */
  #isInRange(id) {
    return this.range !== null && this.range.minId <= id && id <= this.range.maxId;
  }

  /** @param {number} id */
  has(id) {
    return this.#exceptions.has(id) !== this.#isInRange(id);
  }

  /**
   * Return the number of selected items in a list of `length` rows.
   * @param {number} length
   */
  count(length) {
    let rows = this.range ? Math.min(this.range.rows, length) : 0;
    this.#exceptions.forEach((id) => (rows += this.#isInRange(id) ? -1 : 1));
    return Math.max(0, rows);
  }

  get isEmpty() {
    return this.range === null && this.#exceptions.size === 0;
  }

  /** The selected ids outside the range, newest first. */
  get singles() {
    return [...this.#exceptions].filter((id) => !this.#isInRange(id)).sort((a, b) => b - a);
  }

  clear() {
    this.range = null;
    this.#exceptions.clear();
    this.anchor = null;
  }

  selectAll() {
    this.clear();
    this.range = { minId: 0, maxId: Number.MAX_SAFE_INTEGER, rows: Infinity };
  }

  /**
   * Select this item and nothing else.
   * @param {number} id
   * @param {number} row
   */
  selectOnly(id, row) {
    this.clear();
    this.toggle(id, row);
  }

  /**
   * @param {number} id
   * @param {number} row
   */
  toggle(id, row) {
    if (!this.#exceptions.delete(id)) this.#exceptions.add(id);
    this.anchor = { id, row };
  }

  /**
   * Select everything from the anchor to this item, and nothing else.
   * @param {number} id
   * @param {number} row
   */
  extendTo(id, row) {
    const anchor = this.anchor ?? { id, row };
    this.#exceptions.clear();
    const rows = Math.abs(row - anchor.row) + 1;
    this.range = { minId: Math.min(id, anchor.id), maxId: Math.max(id, anchor.id), rows };
    this.anchor = anchor;
  }
}
