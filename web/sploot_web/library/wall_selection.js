/** Selects pictures on the wall: Ctrl, Shift, Space, all, a rubber band, and every click once one is selected. */

import { element } from "../ui/dom.js";
import { isTyping } from "../ui/keys.js";
import { showToast } from "../ui/toast.js";
import { formatNumber } from "../ui/format.js";

export const SELECTED_MAX = 5000;
const BAND_PX = 6; // the pointer moves that far before it draws a band
const EDGE_PX = 40; // near the edge of the wall a band scrolls it

/** @typedef {import("./asset.js").Asset} Asset */

export class WallSelection {
  isSelecting = false; // the user has pressed Select: every click selects
  /** @type {{x: number, y: number, before: Asset[], element: HTMLElement | null} | null} */
  #band = null;
  #wasBand = false;

  /**
   * @param {import("./wall.js").Wall} wall
   * @param {import("./selected_assets.js").SelectedAssets} selected
   * @param {(first: number, last: number) => Promise<Asset[]>} fetchRange pictures of the list by index
   */
  constructor(wall, selected, fetchRange) {
    this.wall = wall;
    this.selected = selected;
    this.fetchRange = fetchRange;
    const { view } = wall;
    view.setAttribute("aria-multiselectable", "true");
    view.addEventListener("click", (event) => this.#onClick(event), { capture: true });
    view.addEventListener("keydown", (event) => this.#onKey(event), { capture: true });
    view.addEventListener("keydown", (event) => this.#afterKey(event));
    view.addEventListener("pointerdown", (event) => this.#startBand(event));
    view.addEventListener("pointermove", (event) => this.#moveBand(event));
    view.addEventListener("pointerup", () => this.#endBand());
    view.addEventListener("pointercancel", () => this.#endBand());
    view.addEventListener("dragstart", (event) => this.isSelecting && event.preventDefault(), { capture: true });
  }

  get #isActive() {
    return this.isSelecting || this.selected.size > 0;
  }

  /** Select everything that the list shows, at most SELECTED_MAX. */
  async selectAll() {
    const { length } = this.wall.pages;
    this.selected.set(await this.fetchRange(0, Math.min(length, SELECTED_MAX) - 1));
    if (length > SELECTED_MAX) showToast(`The first ${formatNumber(SELECTED_MAX)} pictures are selected.`);
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const index = indexOfTile(event.target);
    const asset = index === null ? null : this.wall.pages.row(index);
    const isModified = event.ctrlKey || event.metaKey || event.shiftKey;
    if (this.#wasBand || (this.#isActive && index === null)) event.stopPropagation();
    if (this.#wasBand || index === null || !asset || !(isModified || this.#isActive)) {
      this.#wasBand = false;
      return;
    }
    event.stopPropagation();
    if (event.shiftKey) void this.#extendTo(index);
    else this.#toggle(index, asset);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event.target) || event.altKey) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const { cursor, current } = this.wall;
    if (isCommand && event.key.toLowerCase() === "a") void this.selectAll();
    else if (isCommand) return;
    else if (event.key === " " && current) this.#toggle(cursor, current);
    else if (event.key === "Escape" && this.#isActive) this.stop();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Extend the selection to where an arrow key has moved the cursor.
   * @param {KeyboardEvent} event
   */
  #afterKey(event) {
    const isMove = /^(Arrow|Home|End|Page)/.test(event.key);
    if (!isMove || !event.defaultPrevented) return;
    if (event.shiftKey) void this.#extendTo(this.wall.cursor);
    else if (!this.selected.size) this.selected.anchor = this.wall.cursor;
  }

  /** Select nothing, and open pictures by click again. */
  stop() {
    this.isSelecting = false;
    this.selected.set([]);
  }

  /**
   * @param {number} index
   * @param {Asset} asset
   */
  #toggle(index, asset) {
    this.selected.anchor = index;
    this.wall.moveCursor(index);
    this.selected.toggle(asset);
  }

  /** @param {number} index */
  async #extendTo(index) {
    const [first, last] = [this.selected.anchor, index].sort((a, b) => a - b);
    this.selected.set(await this.fetchRange(first ?? 0, Math.min(last ?? 0, (first ?? 0) + SELECTED_MAX - 1)));
  }

  /** @param {PointerEvent} event */
  #startBand(event) {
    this.#wasBand = false;
    const isOnTile = indexOfTile(event.target) !== null;
    const isOnScrollbar = event.offsetX > this.wall.view.clientWidth;
    if (event.pointerType !== "mouse" || event.button !== 0 || isOnScrollbar || (isOnTile && !this.isSelecting)) return;
    const before = event.ctrlKey || event.metaKey ? this.selected.assets : [];
    this.#band = { x: event.clientX, y: event.clientY + this.wall.view.scrollTop, before, element: null };
  }

  /** @param {PointerEvent} event */
  #moveBand(event) {
    const band = this.#band;
    if (!band) return;
    const { view } = this.wall;
    const bounds = view.getBoundingClientRect();
    const startY = band.y - view.scrollTop;
    if (!band.element) {
      if (Math.hypot(event.clientX - band.x, event.clientY - startY) < BAND_PX) return;
      band.element = element("div", { class: "rubber-band", "aria-hidden": "true" });
      view.after(band.element);
      view.setPointerCapture(event.pointerId);
    }
    if (event.clientY > bounds.bottom - EDGE_PX) view.scrollBy(0, EDGE_PX / 2);
    else if (event.clientY < bounds.top + EDGE_PX) view.scrollBy(0, -EDGE_PX / 2);
    const box = {
      left: Math.min(band.x, event.clientX), right: Math.max(band.x, event.clientX),
      top: Math.min(startY, event.clientY), bottom: Math.max(startY, event.clientY),
    };
    band.element.style.transform = `translate(${box.left - bounds.left}px, ${box.top - bounds.top}px)`;
    band.element.style.width = `${box.right - box.left}px`;
    band.element.style.height = `${box.bottom - box.top}px`;
    const inside = this.wall.assetsIn(box);
    band.before = [...new Map([...band.before, ...inside].map((asset) => [asset.id, asset])).values()];
    this.selected.set(band.before);
  }

  #endBand() {
    if (!this.#band) return;
    this.#wasBand = this.#band.element !== null;
    this.#band.element?.remove();
    this.#band = null;
  }
}

/** @param {EventTarget | null} target */
function indexOfTile(target) {
  const tile = target instanceof Element ? target.closest(".tile") : null;
  return tile ? Number(tile.id.slice("tile-".length)) : null;
}
