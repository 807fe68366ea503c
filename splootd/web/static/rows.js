/**
 * Renders the visible rows of the queue.
 *
 * A row is one element that contains the file name; the style sheet draws what stands before and after the name from
 * attributes, and an error message is one more element. So the longest list has fewer than 200 DOM nodes, on the
 * largest screen.
 */

import { ComponentPool } from "./component_pool.js";
import { element, setAttribute, setText } from "./dom.js";
import { baseName, escapeInvisible, isolate, parentFolder } from "./filename.js";
import { formatSize, formatTime, stateLabel } from "./format.js";

const HEIGHTS_MAX = 2000; // cached; beyond that the cache is cleared and rows are measured again when they are visible

/** @typedef {import("./page_loader.js").RowItem} RowItem */
/** @typedef {import("./virtual_scroll.js").PlacedRow} PlacedRow */

/**
 * What the rows read from their list.
 * @typedef {object} RowSource
 * @property {(index: number) => RowItem | null} row
 * @property {(id: number) => boolean} isSelected
 * @property {() => number} cursor index of the row with the keyboard cursor
 * @property {(path: string) => number | null} progress share of the file that was uploaded, 0 to 1
 * @property {() => number} length
 */

export class Rows {
  #pool;
  /** @type {Map<string, number>} heights of rows with an error message */
  #heights = new Map();
  rowPx = 36;

  /**
   * @param {HTMLElement} canvas
   * @param {RowSource} source
   */
  constructor(canvas, source) {
    this.canvas = canvas;
    this.source = source;
    this.#pool = new ComponentPool(canvas, () => element("div", { class: "row", role: "option" }, element("bdi", {})));
  }

  /** Handle a new width: wrapped messages change their height. */
  onResize() {
    this.#heights.clear();
    this.rowPx = parseFloat(getComputedStyle(this.canvas).getPropertyValue("--row-px")) || this.rowPx;
  }

  /**
   * Return the height of a row, null if it was never measured.
   * @param {number} index
   */
  measuredHeight(index) {
    const row = this.source.row(index);
    if (row === null) return null;
    return row.error_message === null ? this.rowPx : (this.#heights.get(`${row.id} ${row.error_message}`) ?? null);
  }

  /**
   * Render these rows. Returns true if one of them turned out to be higher or lower than estimated.
   * @param {PlacedRow[]} placed
   * @param {number} scrollTop
   */
  render(placed, scrollTop) {
    this.#pool.releaseExcept(new Set(placed.map(({ row }) => row)));
    /** @type {[RowItem, HTMLElement][]} */
    const unmeasured = [];
    for (const { row, y } of placed) {
      const target = this.#pool.acquire(row);
      target.style.transform = `translateY(${Math.round(scrollTop + y)}px)`;
      const item = this.source.row(row);
      this.#update(target, row, item);
      if (item?.error_message && this.measuredHeight(row) === null) unmeasured.push([item, target]);
    }
    this.#pool.detachSpare();
    return this.#measure(unmeasured);
  }

  /**
   * Measure after all rows are written: reading offsetHeight between writes forces a layout for each row.
   * @param {[RowItem, HTMLElement][]} unmeasured
   */
  #measure(unmeasured) {
    if (this.#heights.size > HEIGHTS_MAX) this.#heights.clear();
    let hasChanged = false;
    for (const [item, target] of unmeasured) {
      const px = target.offsetHeight;
      this.#heights.set(`${item.id} ${item.error_message}`, px);
      hasChanged ||= px !== this.rowPx;
    }
    return hasChanged;
  }

  /**
   * @param {HTMLElement} target
   * @param {number} index
   * @param {RowItem | null} item
   */
  #update(target, index, item) {
    setAttribute(target, "id", `row-${index}`);
    setAttribute(target, "aria-posinset", index + 1);
    setAttribute(target, "aria-setsize", this.source.length());
    setAttribute(target, "aria-selected", String(item !== null && this.source.isSelected(item.id)));
    setAttribute(target, "data-cursor", index === this.source.cursor());
    const name = /** @type {HTMLElement} */ (target.firstChild);
    if (item === null) {
      ["data-state", "data-label", "data-meta", "title"].forEach((each) => setAttribute(target, each, null));
      setAttribute(target, "aria-label", "Loading");
      setText(name, "");
      setAttribute(name, "data-folder", null);
      this.#setMessage(target, null);
      return;
    }
    const progress = item.state === "uploading" ? this.source.progress(item.path) : null;
    const label = item.priority === "urgent" && item.state === "pending" ? "Urgent" : stateLabel(item.state);
    setAttribute(target, "data-state", item.state);
    setAttribute(target, "data-label", progress === null ? label : `${label} ${Math.floor(progress * 100)}%`);
    setAttribute(target, "data-meta", `${formatSize(item.size)}\u2002${formatTime(item.updated_at)}`);
    setAttribute(target, "title", escapeInvisible(item.path));
    target.style.setProperty("--progress", progress === null ? "0%" : `${progress * 100}%`);
    const text = isolate(baseName(item.path));
    const fullText = item.error_message === null ? text : `${text} ${escapeInvisible(item.error_message)}`;
    // WCAG 2.5.3: the accessible name contains the visible text in the same order.
    setAttribute(target, "aria-label", `${fullText}, ${label}, ${formatSize(item.size)}`);
    setText(name, text);
    setAttribute(name, "data-folder", isolate(baseName(parentFolder(item.path))));
    this.#setMessage(target, item.error_message);
  }

  /**
   * @param {HTMLElement} target
   * @param {string | null} message
   */
  #setMessage(target, message) {
    const shown = target.children[1];
    if (message === null) shown?.remove();
    else if (shown) setText(shown, escapeInvisible(message));
    else target.append(element("span", {}, escapeInvisible(message)));
  }
}
