/** The virtual list of the queue: scrolls, follows the keys and the mouse, knows which rows are chosen. */

import { put } from "./element.js";
import { isTyping, led } from "./keys.js";
import { ListWindow } from "./listwindow.js";
import { Rows } from "./rows.js";
import { Scroller } from "./scroller.js";
import { ScrollMap } from "./scrollmap.js";
import { Selection } from "./selection.js";

const OVERSCAN = 5;
const CHECK_PX = 36; // from the edge: there a click chooses one more

/** @typedef {import("./feed.js").Shown} Shown */

export class List {
  /** @type {ListWindow<Shown>} */
  window = new ListWindow();
  selection = new Selection();
  /** @type {Map<string, number>} how much of each transfer has been sent, 0 to 1 */
  shares = new Map();
  cursor = 0;

  /**
   * @param {HTMLElement} view
   * @param {HTMLElement} canvas
   * @param {object} owner
   * @param {() => void} owner.looked the view has moved
   * @param {() => void} owner.chose the selection is another
   * @param {(item: Shown) => void} owner.opened
   */
  constructor(view, canvas, owner) {
    this.view = view;
    this.owner = owner;
    this.rows = new Rows(canvas, {
      row: (number) => this.window.row(number),
      isChosen: (id) => this.selection.has(id),
      cursor: () => this.cursor,
      share: (path) => this.shares.get(path) ?? null,
      length: () => this.window.length,
    });
    this.rows.resized();
    this.map = new ScrollMap(this.rows.rowPx, (row) => this.rows.measured(row));
    this.scroller = new Scroller(view, canvas, this.map, (placed, at) => this.#draw(placed, at), OVERSCAN);
    let width = 0;
    new ResizeObserver(() => {
      if (view.clientWidth === width) return;
      width = view.clientWidth;
      this.rows.resized();
      this.map.estimatePx = this.rows.rowPx;
      this.scroller.resized();
    }).observe(view);
    view.addEventListener("keydown", (event) => this.#pressed(event));
    view.addEventListener("click", (event) => this.#clicked(event));
    view.addEventListener("dblclick", (event) => this.#at(event) !== null && this.open());
  }

  get lookedAt() {
    return { top: this.map.anchor.row, height: this.scroller.rowsInView };
  }

  get isFollowing() {
    return this.map.anchor.row === 0 && this.window.isNewest;
  }

  /** @returns {Shown | null} the row that the keys are at */
  get current() {
    return this.window.row(this.cursor);
  }

  /** Another list, of which perhaps the number of rows is known.
   * @param {number | null} total
   */
  begin(total) {
    this.window.clear(total);
    this.selection.clear();
    this.cursor = 0;
    this.map.anchor = { row: 0, px: 0 };
    this.scroller.setLength(this.window.length);
    this.scroller.settle();
    this.owner.chose();
  }

  /**
   * The rows are others now, and their numbers have moved.
   * @param {number} by
   */
  moved(by) {
    if (by) {
      this.cursor = Math.max(0, this.cursor + by);
      this.map.renumber(by);
    }
    this.cursor = Math.min(this.cursor, Math.max(0, this.window.length - 1));
    this.scroller.setLength(this.window.length);
    this.map.hold();
    this.refresh();
  }

  refresh() {
    this.scroller.show();
  }

  /**
   * @param {import("./scrollmap.js").Placed[]} placed
   * @param {number} at
   */
  #draw(placed, at) {
    if (this.rows.draw(placed, at)) {
      this.map.hold();
      this.rows.draw(this.map.placed(OVERSCAN), at);
    }
    const isInView = placed.some(({ row }) => row === this.cursor);
    put(this.view, "aria-activedescendant", isInView ? `row-${this.cursor}` : null);
    this.owner.looked();
  }

  /** Show the story of the row that the keys are at. */
  open() {
    if (this.current) this.owner.opened(this.current);
  }

  /**
   * @param {number} row
   * @param {{isReaching: boolean}} how with the shift key everything up to there is chosen
   */
  #go(row, { isReaching }) {
    const { selection } = this;
    if (isReaching && this.current) selection.anchor ??= { id: this.current.id, row: this.cursor };
    this.cursor = row;
    this.scroller.reveal(row);
    if (isReaching && this.current) {
      selection.reach(this.current.id, row);
      this.#chose();
    }
  }

  #chose() {
    this.refresh();
    this.owner.chose();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (isTyping(event.target) || event.altKey) return;
    const isControl = event.ctrlKey || event.metaKey;
    const page = Math.max(1, Math.floor(this.map.viewPx / this.map.estimatePx) - 1);
    const to = led(event.key, { at: this.cursor, length: this.window.length, page });
    if (to !== null) this.#go(to, { isReaching: event.shiftKey });
    else if (event.key === " ") this.#toggle();
    else if (event.key === "Enter") this.open();
    else if (isControl && event.key.toLowerCase() === "a") this.chooseAll();
    else if (event.key === "Escape" && !this.selection.isEmpty) this.chooseNone();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #toggle() {
    if (this.current) this.selection.toggle(this.current.id, this.cursor);
    this.#chose();
  }

  chooseAll() {
    this.selection.all();
    this.#chose();
  }

  chooseNone() {
    this.selection.clear();
    this.#chose();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const row = this.#at(event);
    const item = row === null ? null : this.window.row(row);
    if (row === null || !item) return;
    const { selection } = this;
    const isCheck = event.clientX - this.view.getBoundingClientRect().left < CHECK_PX;
    this.cursor = row;
    if (event.shiftKey) selection.reach(item.id, row);
    else if (event.ctrlKey || event.metaKey || isCheck) selection.toggle(item.id, row);
    else selection.only(item.id, row);
    this.#chose();
  }

  /**
   * The row that was pointed at.
   * @param {MouseEvent} event
   */
  #at(event) {
    const row = event.target instanceof Element ? event.target.closest(".row") : null;
    return row ? Number(row.id.slice("row-".length)) : null;
  }
}
