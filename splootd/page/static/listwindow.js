/**
 * A long list of which only a stretch is held: what to ask for next, and where the rows of an answer belong.
 *
 * Lists are paged by key, so the number of a row is known only near the two ends. In between it is an estimate, which
 * is put right as soon as an end comes into view.
 */

export const ROWS_MIN = 200; // held at least; four screens if that is more

/**
 * A page: up to `limit` rows older than `before`, or newer than `after`, or the newest; `at` is a row number.
 * Rows older than something are to begin there, rows newer than something to end there.
 * @typedef {{limit: number, before: number | null, after: number | null, at: number}} Ask
 */

/**
 * @param {number} limit
 * @param {Partial<Ask>} [rest]
 * @returns {Ask}
 */
function ask(limit, rest = {}) {
  return { limit, before: null, after: null, at: 0, ...rest };
}

/**
 * The rows `start` to `end` of a list of `length` rows, newest first.
 * @template {{id: number}} Row
 */
export class ListWindow {
  /** @type {readonly Row[]} */
  rows = [];
  start = 0;
  isNewest = false; // the first row is the first of the list
  isOldest = false;
  /** @type {number | null} */
  #total = null;
  #newestId = 0;

  /**
   * Nothing is known of the rows of another list but perhaps their number.
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

  /** Of the whole list, the rows that are not held included. */
  get length() {
    if (this.isNewest && this.isOldest) return this.rows.length;
    return Math.max(this.end + (this.isOldest ? 0 : 1), this.#total ?? 0);
  }

  /** @param {number} number */
  row(number) {
    return this.rows[number - this.start] ?? null;
  }

  /**
   * The row in which an item is, null where it is not held.
   * @param {number} id
   */
  numberOf(id) {
    const at = this.rows.findIndex((row) => row.id === id);
    return at < 0 ? null : this.start + at;
  }

  /**
   * What to ask for when the rows from `top` on are looked at; null when they and their surroundings are held.
   * @param {number} top
   * @param {number} height in rows
   */
  lacking(top, height) {
    const limit = Math.max(ROWS_MIN, 4 * height);
    if (this.rows.length === 0) return this.isNewest ? null : ask(limit);
    const isEnoughAbove = this.isNewest || this.start <= top - height;
    const isEnoughBelow = this.isOldest || this.end >= Math.min(top + 2 * height, this.length);
    if (top >= this.start && isEnoughAbove && isEnoughBelow && top < Math.max(this.end, 1)) return null;
    return this.#around(top - Math.floor((limit - height) / 2), limit);
  }

  /**
   * The page that begins with the row `first`, as near as can be told.
   * @param {number} first
   * @param {number} limit
   */
  #around(first, limit) {
    if (first <= 0) return ask(limit);
    const last = Math.min(first + limit, this.length) - 1;
    const firstRow = this.row(first);
    if (firstRow !== null) return ask(limit, { before: firstRow.id + 1, at: first });
    const lastRow = this.row(last);
    if (lastRow !== null) return ask(limit, { after: lastRow.id - 1, at: last });
    if (last >= this.length - 1 && this.#total !== null) return ask(limit, { after: 0, at: last });
    const guessed = Math.max(1, Math.round(this.#newestId * (1 - first / this.length))) + 1;
    return ask(limit, { before: guessed, at: first });
  }

  /**
   * The same stretch as it is now, or the newest rows for who follows them.
   * @param {boolean} isFollowing
   * @param {number} height in rows
   */
  again(isFollowing, height) {
    const limit = Math.max(ROWS_MIN, 4 * height);
    const [first] = this.rows;
    return isFollowing || first === undefined ? ask(limit) : ask(limit, { before: first.id + 1, at: this.start });
  }

  /**
   * There are `total` rows in all, null where nobody has counted them. How far the numbers have moved by that.
   * @param {number | null} total
   */
  count(total) {
    this.#total = total;
    const start = this.start;
    this.start = this.rows.length ? this.#mended(start, ROWS_MIN) : 0;
    return this.start - start;
  }

  /**
   * Hold what was asked for; `isComplete` says that the list ends with it.
   *
   * How far the numbers of the rows have moved against what was thought: whoever looks at them moves along.
   * @param {Ask} asked
   * @param {readonly Row[]} rows
   * @param {boolean} isComplete
   */
  take(asked, rows, isComplete) {
    let start = asked.at;
    if (asked.after !== null) {
      start = asked.at + 1 - rows.length;
      this.isNewest = isComplete;
      this.isOldest = asked.after === 0;
    } else {
      this.isNewest = asked.before === null;
      this.isOldest = isComplete;
    }
    this.rows = rows;
    this.start = this.#mended(start, asked.limit);
    if (this.isNewest && rows[0]) this.#newestId = rows[0].id;
    return this.start - start;
  }

  /**
   * `start`, unless an end of the list that is held, or is not, says otherwise.
   * @param {number} start
   * @param {number} limit
   */
  #mended(start, limit) {
    if (this.isNewest) return 0;
    if (this.isOldest && this.#total !== null) return Math.max(1, this.#total - this.rows.length);
    return start > 0 ? start : limit;
  }
}
