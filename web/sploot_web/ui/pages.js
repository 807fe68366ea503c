/** A bounded cache of the pages of a long list that is read by offset. */

export const PAGE_ROWS = 60;
const PAGES_MAX = 12; // the least recently used page is evicted

/** @template Row */
export class Pages {
  /** @type {Map<number, readonly Row[]>} in order of use, oldest first */
  #pages = new Map();
  length = 0;
  isComplete = false;

  clear() {
    this.#pages.clear();
    this.length = 0;
    this.isComplete = false;
  }

  /**
   * Return the row at `index`, null if its page is not loaded.
   * @param {number} index
   * @returns {Row | null}
   */
  row(index) {
    return this.#pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS] ?? null;
  }

  /**
   * Return the index of the first loaded row that fulfils `predicate`, -1 if there is none.
   * @param {(row: Row) => boolean} predicate
   */
  findIndex(predicate) {
    for (const [page, rows] of this.#pages) {
      const at = rows.findIndex(predicate);
      if (at >= 0) return page * PAGE_ROWS + at;
    }
    return -1;
  }

  /**
   * Return the first page between two rows that is not loaded, null if all are. Marks the loaded ones as used.
   * @param {number} first
   * @param {number} last
   */
  missingPage(first, last) {
    const end = this.isComplete ? Math.max(0, this.length - 1) : Math.max(last, 0);
    for (let page = Math.floor(first / PAGE_ROWS); page <= Math.floor(Math.min(last, end) / PAGE_ROWS); page += 1) {
      const rows = this.#pages.get(page);
      if (!rows) return this.isComplete && page * PAGE_ROWS >= this.length ? null : page;
      this.#pages.delete(page);
      this.#pages.set(page, rows); // a Map keeps insertion order: the last one is the most recently used
    }
    return null;
  }

  /**
   * Store a page that was loaded.
   * @param {number} page
   * @param {readonly Row[]} rows
   * @param {{total: number | null, hasMore: boolean}} of
   */
  store(page, rows, { total, hasMore }) {
    this.#pages.set(page, rows);
    const end = page * PAGE_ROWS + rows.length;
    this.isComplete = total !== null || !hasMore;
    this.length = hasMore ? Math.max(total ?? end + 1, end) : end;
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= PAGES_MAX) break;
      this.#pages.delete(oldest);
    }
  }

  /**
   * Replace every loaded row by the result of `replacement`; null removes the row.
   * @param {(row: Row) => Row | null} replacement
   */
  replace(replacement) {
    for (const [page, rows] of this.#pages) {
      this.#pages.set(page, rows.map(replacement).filter((row) => row !== null));
    }
  }

  /**
   * Remove a row: those after it move up. Pages that would be incomplete are loaded again.
   * @param {number} index
   */
  remove(index) {
    const first = Math.floor(index / PAGE_ROWS);
    const at = index % PAGE_ROWS;
    for (const page of [...this.#pages.keys()].sort((a, b) => a - b)) {
      if (page < first) continue;
      const rows = [...(this.#pages.get(page) ?? [])];
      rows.splice(page === first ? at : 0, 1);
      const following = this.#pages.get(page + 1)?.[0];
      if (following !== undefined) rows.push(following);
      if (rows.length === Math.min(PAGE_ROWS, this.length - 1 - page * PAGE_ROWS)) this.#pages.set(page, rows);
      else this.#pages.delete(page);
    }
    this.length -= 1;
  }

  /** All loaded rows in list order. */
  get rows() {
    return [...this.#pages].sort(([a], [b]) => a - b).flatMap(([, rows]) => rows);
  }
}
