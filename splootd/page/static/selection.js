/**
 * Which items are chosen: a span of the list, and single ones that are so or not against it.
 *
 * A list may have a million rows of which a few hundred are held. Lists are in the order of the ids, so a span is two
 * of them and holds items that nobody has read yet; all is the span from the first to the last.
 */

/** @typedef {{least: number, most: number, rows: number}} Span ids, both included; `rows` may be an estimate */

export class Selection {
  /** @type {Span | null} */
  span = null;
  /** @type {Set<number>} those that are chosen outside the span, or left out inside it */
  #others = new Set();
  /** @type {{id: number, row: number} | null} where a span begins to be drawn */
  anchor = null;

  /** @param {number} id */
  #isInSpan(id) {
    return this.span !== null && this.span.least <= id && id <= this.span.most;
  }

  /** @param {number} id */
  has(id) {
    return this.#others.has(id) !== this.#isInSpan(id);
  }

  /**
   * How many are chosen, in a list of `length`.
   * @param {number} length
   */
  count(length) {
    let rows = this.span ? Math.min(this.span.rows, length) : 0;
    this.#others.forEach((id) => (rows += this.#isInSpan(id) ? -1 : 1));
    return Math.max(0, rows);
  }

  get isEmpty() {
    return this.span === null && this.#others.size === 0;
  }

  /** The chosen ones that are not in the span, newest first. */
  get singles() {
    return [...this.#others].filter((id) => !this.#isInSpan(id)).sort((a, b) => b - a);
  }

  clear() {
    this.span = null;
    this.#others.clear();
    this.anchor = null;
  }

  /** Everything in the list. */
  all() {
    this.clear();
    this.span = { least: 0, most: Number.MAX_SAFE_INTEGER, rows: Infinity };
  }

  /**
   * Only this one.
   * @param {number} id
   * @param {number} row
   */
  only(id, row) {
    this.clear();
    this.toggle(id, row);
  }

  /**
   * @param {number} id
   * @param {number} row
   */
  toggle(id, row) {
    if (!this.#others.delete(id)) this.#others.add(id);
    this.anchor = { id, row };
  }

  /**
   * All from the anchor to here, and nothing else.
   * @param {number} id
   * @param {number} row
   */
  reach(id, row) {
    const anchor = this.anchor ?? { id, row };
    this.#others.clear();
    const rows = Math.abs(row - anchor.row) + 1;
    this.span = { least: Math.min(id, anchor.id), most: Math.max(id, anchor.id), rows };
    this.anchor = anchor;
  }
}
