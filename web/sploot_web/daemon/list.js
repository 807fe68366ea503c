/** The virtual list of the activity view: scrolling, keyboard and mouse navigation, selection. */

import { setAttribute } from "../ui/dom.js";
import { isTyping, nextIndex } from "../ui/keys.js";
import { ListWindow } from "./list_window.js";
import { Rows } from "./rows.js";
import { Scroller } from "../ui/scroller.js";
import { Selection } from "../ui/selection.js";
import { VirtualScroll } from "../ui/virtual_scroll.js";

const OVERSCAN = 5;
const CHECKBOX_PX = 36; // from the left edge: a click there toggles one row

/** @typedef {import("./page_loader.js").RowItem} RowItem */

export class FileListVirtual {
  /** @type {ListWindow<RowItem>} */
  window = new ListWindow();
  selection = new Selection();
  /** @type {Map<string, import("./transfer_rates.js").Transfer>} the uploads in progress by path */
  transfers = new Map();
  cursor = 0;

  /**
   * @param {HTMLElement} view
   * @param {HTMLElement} canvas
   * @param {object} handlers
   * @param {() => void} handlers.onViewChange
   * @param {() => void} handlers.onSelectionChange
   * @param {(item: RowItem) => void} handlers.onOpen
   * @param {(item: RowItem) => void} handlers.onPicture a click on the thumbnail
   */
  constructor(view, canvas, handlers) {
    this.view = view;
    this.handlers = handlers;
    this.rows = new Rows(canvas, {
      row: (index) => this.window.row(index),
      isSelected: (id) => this.selection.has(id),
      cursor: () => this.cursor,
      transfer: (path) => this.transfers.get(path) ?? null,
      length: () => this.window.length,
    });
    this.rows.onResize();
    this.scroll = new VirtualScroll(this.rows.rowPx, (row) => this.rows.measuredHeight(row));
    this.scroller = new Scroller(view, canvas, this.scroll, (...rows) => this.#render(...rows), OVERSCAN);
    let width = 0;
    new ResizeObserver(() => {
      if (view.clientWidth === width) return;
      width = view.clientWidth;
      this.rows.onResize();
      this.scroll.estimatePx = this.rows.rowPx;
      this.scroller.onResize();
    }).observe(view);
    view.addEventListener("keydown", (event) => this.#onKey(event));
    view.addEventListener("click", (event) => this.#onClick(event));
    view.addEventListener("dblclick", (event) => this.#indexAt(event) !== null && this.open());
  }

  get visibleRows() {
    return { top: this.scroll.anchor.row, height: this.scroller.rowsInView };
  }

  get isFollowing() {
    return this.scroll.anchor.row === 0 && this.window.isNewest;
  }

  /** @returns {RowItem | null} the row with the keyboard cursor */
  get current() {
    return this.window.row(this.cursor);
  }

  /**
   * Show another list, of `total` rows if that is known.
   * @param {number | null} total
   */
  reset(total) {
    this.window.clear(total);
    this.selection.clear();
    this.cursor = 0;
    this.scroll.anchor = { row: 0, px: 0 };
    this.scroller.setLength(this.window.length);
    this.scroller.settle();
    this.handlers.onSelectionChange();
  }

  /**
   * Render rows that changed; `by` is the difference of their indices.
   * @param {number} by
   */
  onRowsChange(by) {
    if (by) {
      this.cursor = Math.max(0, this.cursor + by);
      this.scroll.shiftRows(by);
    }
    this.cursor = Math.min(this.cursor, Math.max(0, this.window.length - 1));
    this.scroller.setLength(this.window.length);
    this.scroll.keepPosition();
    this.refresh();
  }

  refresh() {
    this.scroller.render();
  }

  /**
   * @param {import("../ui/virtual_scroll.js").PlacedRow[]} placed
   * @param {number} scrollTop
   */
  #render(placed, scrollTop) {
    if (this.rows.render(placed, scrollTop)) {
      this.scroll.keepPosition();
      this.rows.render(this.scroll.placedRows(OVERSCAN), scrollTop);
    }
    const isInView = placed.some(({ row }) => row === this.cursor);
    setAttribute(this.view, "aria-activedescendant", isInView ? `row-${this.cursor}` : null);
    this.handlers.onViewChange();
  }

  /** Open the row with the keyboard cursor. */
  open() {
    if (this.current) this.handlers.onOpen(this.current);
  }

  /**
   * @param {number} row
   * @param {{isExtending: boolean}} how with the Shift key the selection extends to the row
   */
  #moveCursor(row, { isExtending }) {
    const { selection } = this;
    if (isExtending && this.current) selection.anchor ??= { id: this.current.id, row: this.cursor };
    this.cursor = row;
    this.scroller.reveal(row);
    if (isExtending && this.current) {
      selection.extendTo(this.current.id, row);
      this.#onSelectionChange();
    }
  }

  #onSelectionChange() {
    this.refresh();
    this.handlers.onSelectionChange();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event.target) || event.altKey) return;
    const isControl = event.ctrlKey || event.metaKey;
    const page = Math.max(1, Math.floor(this.scroll.viewPx / this.scroll.estimatePx) - 1);
    const next = nextIndex(event.key, { current: this.cursor, length: this.window.length, page });
    if (next !== null) this.#moveCursor(next, { isExtending: event.shiftKey });
    else if (event.key === " ") this.#toggle();
    else if (event.key === "Enter") this.open();
    else if (isControl && event.key.toLowerCase() === "a") this.selectAll();
    else if (event.key === "Escape" && !this.selection.isEmpty) this.selectNone();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #toggle() {
    if (this.current) this.selection.toggle(this.current.id, this.cursor);
    this.#onSelectionChange();
  }

  selectAll() {
    this.selection.selectAll();
    this.#onSelectionChange();
  }

  selectNone() {
    this.selection.clear();
    this.#onSelectionChange();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const row = this.#indexAt(event);
    const item = row === null ? null : this.window.row(row);
    if (row === null || !item) return;
    const { selection } = this;
    const isCheckbox = event.clientX - this.view.getBoundingClientRect().left < CHECKBOX_PX;
    this.cursor = row;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.metaKey;
    if (isPlain && event.target instanceof HTMLImageElement) return this.handlers.onPicture(item);
    if (event.shiftKey) selection.extendTo(item.id, row);
    else if (event.ctrlKey || event.metaKey || isCheckbox) selection.toggle(item.id, row);
    else selection.selectOnly(item.id, row);
    this.#onSelectionChange();
  }

  /**
   * Return the index of the row under the mouse pointer, null if there is none.
   * @param {MouseEvent} event
   */
  #indexAt(event) {
    const row = event.target instanceof Element ? event.target.closest(".row") : null;
    return row ? Number(row.id.slice("row-".length)) : null;
  }
}
