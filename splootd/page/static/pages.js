/** A long list that is read in pages by number: which of them are held, and which is wanted next. */

export const PAGE_ROWS = 60;
const PAGES_MAX = 12; // held: those that were looked at last

/** @template Row */
export class Pages {
  /** @type {Map<number, readonly Row[]>} in the order in which they were looked at */
  #held = new Map();
  length = 0;
  isComplete = false;

  clear() {
    this.#held.clear();
    this.length = 0;
    this.isComplete = false;
  }

  /**
   * @param {number} number
   * @returns {Row | null}
   */
  row(number) {
    return this.#held.get(Math.floor(number / PAGE_ROWS))?.[number % PAGE_ROWS] ?? null;
  }

  /**
   * The first page that is lacking where these rows are looked at, null when all are held.
   * @param {number} first
   * @param {number} last
   */
  lacking(first, last) {
    const end = this.isComplete ? Math.max(0, this.length - 1) : Math.max(last, 0);
    for (let page = Math.floor(first / PAGE_ROWS); page <= Math.floor(Math.min(last, end) / PAGE_ROWS); page += 1) {
      const held = this.#held.get(page);
      if (!held) return this.isComplete && page * PAGE_ROWS >= this.length ? null : page;
      this.#held.delete(page);
      this.#held.set(page, held); // looked at last
    }
    return null;
  }

  /**
   * @param {number} page
   * @param {readonly Row[]} rows
   * @param {{total: number | null, hasMore: boolean}} of
   */
  take(page, rows, { total, hasMore }) {
    this.#held.set(page, rows);
    const end = page * PAGE_ROWS + rows.length;
    this.isComplete = total !== null || !hasMore;
    this.length = hasMore ? Math.max(total ?? end + 1, end) : end;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= PAGES_MAX) break;
      this.#held.delete(oldest);
    }
  }

  /**
   * Put another row in the place of one, or nothing.
   * @param {(row: Row) => Row | null} by
   */
  replace(by) {
    for (const [page, rows] of this.#held) {
      this.#held.set(page, rows.map(by).filter((row) => row !== null));
    }
  }

  /** All rows that are held, in their order. */
  get rows() {
    return [...this.#held].sort(([a], [b]) => a - b).flatMap(([, rows]) => rows);
  }
}
