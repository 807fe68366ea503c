/**
 * The rows of the queue on the screen: as many elements as are in view, used again and again.
 *
 * A row is one element with the name in it; what stands before and after the name is drawn by the style sheet out of
 * attributes, and a reason is one element more. So the longest list is fewer than 200 nodes, on the largest screen.
 */

import { element, put, write } from "./element.js";
import { folderOf, isolated, nameOf, safe } from "./names.js";
import { moment, size } from "./words.js";

const HEIGHTS_MAX = 2000; // remembered; then all are measured again as they are seen

/** @typedef {import("./feed.js").Shown} Shown */
/** @typedef {import("./scrollmap.js").Placed} Placed */

/**
 * What the rows know of the list.
 * @typedef {object} Look
 * @property {(row: number) => Shown | null} row
 * @property {(id: number) => boolean} isChosen
 * @property {() => number} cursor the number of the row that the keys are at
 * @property {(path: string) => number | null} share how much of it has been sent, 0 to 1
 * @property {() => number} length
 */

export class Rows {
  /** @type {Map<number, HTMLElement>} the elements in use by row number */
  #used = new Map();
  /** @type {HTMLElement[]} */
  #spare = [];
  /** @type {Map<string, number>} heights of rows with a reason */
  #heights = new Map();
  rowPx = 36;

  /**
   * @param {HTMLElement} canvas
   * @param {Look} look
   */
  constructor(canvas, look) {
    this.canvas = canvas;
    this.look = look;
  }

  /** The width has changed, and with it the height of what wraps. */
  resized() {
    this.#heights.clear();
    this.rowPx = parseFloat(getComputedStyle(this.canvas).getPropertyValue("--row-px")) || this.rowPx;
  }

  /**
   * The height of a row, null where it has never been seen.
   * @param {number} number
   */
  measured(number) {
    const row = this.look.row(number);
    if (row === null) return null;
    return row.reason === null ? this.rowPx : (this.#heights.get(`${row.id} ${row.reason}`) ?? null);
  }

  /**
   * Show these rows. Whether one of them has turned out higher or lower than was thought.
   * @param {Placed[]} placed
   * @param {number} at the scroll bar's number
   */
  draw(placed, at) {
    const wanted = new Set(placed.map(({ row }) => row));
    for (const [row, used] of this.#used) {
      if (wanted.has(row)) continue;
      this.#used.delete(row);
      this.#spare.push(used);
    }
    /** @type {[Shown, HTMLElement][]} */
    const unknown = [];
    for (const { row, y } of placed) {
      const used = this.#used.get(row) ?? this.#taken(row);
      used.style.transform = `translateY(${Math.round(at + y)}px)`;
      const item = this.look.row(row);
      this.#fill(used, row, item);
      if (item?.reason && this.measured(row) === null) unknown.push([item, used]);
    }
    this.#spare.forEach((left) => left.remove()); // out of the page, but kept for the next frame
    return this.#measure(unknown);
  }

  /** @param {number} row */
  #taken(row) {
    let taken = this.#spare.pop();
    if (!taken) {
      taken = element("div", { class: "row", role: "option" }, element("bdi", {}));
    }
    if (!taken.isConnected) this.canvas.append(taken);
    this.#used.set(row, taken);
    return taken;
  }

  /** @param {[Shown, HTMLElement][]} unknown */
  #measure(unknown) {
    if (this.#heights.size > HEIGHTS_MAX) this.#heights.clear();
    const { estimatePx } = this;
    let isOther = false;
    for (const [item, used] of unknown) {
      const px = used.offsetHeight;
      this.#heights.set(`${item.id} ${item.reason}`, px);
      isOther ||= px !== estimatePx;
    }
    return isOther;
  }

  get estimatePx() {
    return this.rowPx;
  }

  /**
   * @param {HTMLElement} used
   * @param {number} number
   * @param {Shown | null} item
   */
  #fill(used, number, item) {
    put(used, "id", `row-${number}`);
    put(used, "aria-posinset", number + 1);
    put(used, "aria-setsize", this.look.length());
    put(used, "aria-selected", String(item !== null && this.look.isChosen(item.id)));
    put(used, "data-cursor", number === this.look.cursor());
    const name = /** @type {HTMLElement} */ (used.firstChild);
    if (item === null) {
      ["data-state", "data-says", "data-meta", "title"].forEach((each) => put(used, each, null));
      put(used, "aria-label", "not read yet");
      write(name, "");
      put(name, "data-in", null);
      this.#reason(used, null);
      return;
    }
    const share = item.state === "uploading" ? this.look.share(item.path) : null;
    const word = item.priority === "urgent" && item.state === "pending" ? "urgent" : item.state;
    put(used, "data-state", item.state);
    put(used, "data-says", share === null ? word : `sending ${Math.floor(share * 100)} %`);
    put(used, "data-meta", `${size(item.size)}\u2002${moment(item.updated_at)}`);
    put(used, "title", safe(item.path));
    used.style.setProperty("--sent", share === null ? "0%" : `${share * 100}%`);
    const shown = isolated(nameOf(item.path));
    const said = item.reason === null ? shown : `${shown} ${safe(item.reason)}`; // what can be seen, as it is seen
    put(used, "aria-label", `${said}, ${word}, ${size(item.size)}`);
    write(name, shown);
    put(name, "data-in", isolated(nameOf(folderOf(item.path))));
    this.#reason(used, item.reason);
  }

  /**
   * @param {HTMLElement} used
   * @param {string | null} reason
   */
  #reason(used, reason) {
    const shown = used.children[1];
    if (reason === null) shown?.remove();
    else if (shown) write(shown, safe(reason));
    else used.append(element("span", {}, safe(reason)));
  }
}
