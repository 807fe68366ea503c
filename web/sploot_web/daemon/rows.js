/**
 * Renders the visible rows of the file list.
 *
 * A row is one element that contains a thumbnail and the file name; the style sheet draws what stands before and after
 * the name from attributes, and an error message is one more element. So the longest list has fewer than 200 DOM nodes,
 * on the largest screen.
 */

import { ComponentPool } from "../ui/component_pool.js";
import { element, setAttribute, setText } from "../ui/dom.js";
import { baseName, escapeInvisible, isolate } from "../ui/filename.js";
import { formatDuration, formatSize, formatTime } from "../ui/format.js";
import { thumbnailUrl } from "../library/asset.js";
import { createPicture, setPicture } from "../library/picture.js";
import { stateLabel } from "../ui/states.js";
import { describePlace, folderName } from "./places.js";
import { remainingS } from "./transfer_rates.js";

const REST_MS = 200; // without a new row: only then are thumbnails requested, and not for rows that fly past
const HEIGHTS_MAX = 2000; // cached; beyond that the cache is cleared and rows are measured again when they are visible

/** @typedef {import("./page_loader.js").RowItem} RowItem */
/** @typedef {import("../ui/virtual_scroll.js").PlacedRow} PlacedRow */

/**
 * What the rows read from their list.
 * @typedef {object} RowSource
 * @property {(index: number) => RowItem | null} row
 * @property {(id: number) => boolean} isSelected
 * @property {() => number} cursor index of the row with the keyboard cursor
 * @property {(path: string) => import("./transfer_rates.js").Transfer | null} transfer the upload of the file
 * @property {() => number} length
 */

export class Rows {
  #pool;
  /** @type {Map<string, number>} heights of rows with an error message */
  #heights = new Map();
  rowPx = 48;
  #thumbnailTimer = 0;

  /**
   * @param {HTMLElement} canvas
   * @param {RowSource} source
   */
  constructor(canvas, source) {
    this.canvas = canvas;
    this.source = source;
    this.#pool = new ComponentPool(canvas, createRow);
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
    clearTimeout(this.#thumbnailTimer);
    this.#thumbnailTimer = window.setTimeout(() => this.#loadThumbnails(placed), REST_MS);
    return this.#measure(unmeasured);
  }

  /** @param {PlacedRow[]} placed */
  #loadThumbnails(placed) {
    for (const { row } of placed) {
      const item = this.source.row(row);
      if (item) setPicture(thumbnailOf(this.#pool.acquire(row)), urlOf(item));
    }
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
    const name = /** @type {HTMLElement} */ (target.children[1]);
    // The picture of another row disappears at once; the one of this row is requested when the list is at rest.
    const shown = thumbnailOf(target).getAttribute("src");
    if (shown !== null && shown !== (item && urlOf(item))) setPicture(thumbnailOf(target), null);
    if (item === null) {
      ["data-state", "data-label", "data-meta", "title"].forEach((each) => setAttribute(target, each, null));
      setAttribute(target, "aria-label", "Loading");
      setText(name, "");
      setAttribute(name, "data-folder", null);
      this.#setMessage(target, null);
      return;
    }
    const transfer = item.state === "uploading" ? this.source.transfer(item.path) : null;
    const share = transfer === null ? 0 : transfer.sent / Math.max(1, transfer.size);
    const label = item.priority === "urgent" && item.state === "pending" ? "Next" : stateLabel(item.state);
    setAttribute(target, "data-state", item.state);
    setAttribute(target, "data-label", transfer === null ? label : `${label} ${Math.floor(share * 100)}%`);
    setAttribute(target, "data-meta", `${transfer === null ? formatSize(item.size) : describeTransfer(transfer)}\u2002${
      formatTime(item.updated_at)}`);
    setAttribute(target, "title", describePlace(item.path));
    target.style.setProperty("--progress", `${share * 100}%`);
    const text = isolate(baseName(item.path));
    // What to do, which begins with a command, is behind the row: there it is a button.
    const message = item.error_message && escapeInvisible(item.error_message.replace(/: `.*/s, ""));
    const fullText = message ? `${text} ${message}` : text;
    // WCAG 2.5.3: the accessible name contains the visible text in the same order.
    setAttribute(target, "aria-label", `${fullText}, ${label}, ${formatSize(item.size)}`);
    setText(name, text);
    setAttribute(name, "data-folder", folderName(item.path));
    this.#setMessage(target, message);
  }

  /**
   * @param {HTMLElement} target
   * @param {string | null} message
   */
  #setMessage(target, message) {
    const shown = target.children[2];
    if (message === null) shown?.remove();
    else if (shown) setText(shown, message);
    else target.append(element("span", {}, message));
  }
}

function createRow() {
  const thumbnail = createPicture({ alt: "", draggable: "false" });
  return element("div", { class: "row", role: "option" }, thumbnail, element("bdi", {}));
}

/** @param {HTMLElement} row */
function thumbnailOf(row) {
  return /** @type {HTMLImageElement} */ (row.firstChild);
}

/**
 * Return the address of the thumbnail of an item, null if the library has none yet.
 * @param {RowItem} item
 */
function urlOf({ asset_id: id, state }) {
  return id === null || state === "uploading" ? null : thumbnailUrl({ id });
}

/** @param {import("./transfer_rates.js").Transfer} transfer */
function describeTransfer(transfer) {
  const leftS = remainingS(transfer);
  const rate = transfer.bytesPerS === null ? "" : `, ${formatSize(transfer.bytesPerS)}/s`;
  const left = leftS === null ? "" : `, ${formatDuration(leftS)} left`;
  return `${formatSize(transfer.sent)} of ${formatSize(transfer.size)}${rate}${left}`;
}
