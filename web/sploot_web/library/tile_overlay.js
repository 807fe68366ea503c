/**
 * What is shown over the tile under the pointer, or at the keyboard's cursor: its words, tags and buttons, and its
 * movement. One overlay serves all tiles.
 */

import { originalUrl } from "./asset.js";
import { iconButton } from "./icons.js";
import { markedText, matchReason } from "./marked_text.js";
import { createPicture, setPicture } from "./picture.js";
import { download } from "./take_out.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";

const MOVING_TYPES = ["image/gif", "image/apng"]; // always worth the load; a WebP rarely moves

/** @typedef {import("./asset.js").Asset} Asset */

export class TileOverlay {
  /** @type {{tile: HTMLElement, asset: Asset} | null} */
  #shown = null;
  #moving = createPicture({ alt: "", class: "moving" });
  #words = element("p", { class: "words" });
  #reason = element("p", { class: "reason" });
  #tags = element("p", { class: "tile-tags" });
  #favorite;
  #stack;
  #reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * @param {HTMLElement} view the wall; the overlay follows it, because a listbox must not contain any buttons
   * @param {object} handlers
   * @param {(tile: HTMLElement) => Asset | null} handlers.assetOf
   * @param {(asset: Asset) => void} handlers.onCopy
   * @param {(asset: Asset) => void} handlers.onFavorite
   * @param {(asset: Asset) => void} handlers.onGroup
   */
  constructor(view, handlers) {
    this.view = view;
    this.assetOf = handlers.assetOf;
    const act = (/** @type {(asset: Asset) => void} */ action) => () => this.#shown && action(this.#shown.asset);
    this.#favorite = iconButton("star", "Favourite", act(handlers.onFavorite), { "aria-keyshortcuts": "f" });
    this.#stack = button("", act(handlers.onGroup), { "aria-keyshortcuts": "g" });
    this.element = element(
      "div",
      { class: "tile-overlay", role: "group", "aria-label": "The picture", hidden: true },
      this.#moving,
      element(
        "div", { class: "tile-buttons" },
        button("Copy", act(handlers.onCopy), { "aria-keyshortcuts": "c" }),
        iconButton("download", "Download", act(download), { "aria-keyshortcuts": "d" }),
        this.#favorite,
        this.#stack),
      element("div", { class: "tile-words" }, this.#words, this.#tags, this.#reason),
    );
    view.after(this.element);
    view.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.#showAt(event.target));
    view.addEventListener("keyup", () => this.#showAtCursor());
    view.addEventListener("focus", () => this.#showAtCursor());
    for (const place of [view, this.element]) {
      place.addEventListener("pointerleave", (event) => this.#hideUnless(event.relatedTarget));
      place.addEventListener("focusout", (event) => this.#hideUnless(event.relatedTarget));
    }
    this.element.addEventListener("wheel", (event) => view.scrollBy(0, event.deltaY), { passive: true });
  }

  /** Follow a tile that moved or changed, and hide the overlay if it shows another picture. */
  update() {
    if (!this.#shown) return;
    const { tile, asset } = this.#shown;
    const now = tile.isConnected ? this.assetOf(tile) : null;
    if (now?.id !== asset.id) return this.#hide();
    if (now !== asset) this.#fill(tile, now);
    this.#place(tile);
  }

  #showAtCursor() {
    const id = this.view.matches(":focus-visible") ? this.view.getAttribute("aria-activedescendant") : null;
    if (id) this.#showAt(document.getElementById(id));
  }

  /** @param {EventTarget | null} target */
  #showAt(target) {
    const tile = target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(".tile")) : null;
    const asset = tile && this.assetOf(tile);
    if (!tile || !asset) return this.#hide();
    if (this.#shown?.tile === tile && this.#shown.asset.id === asset.id) return;
    this.#fill(tile, asset);
    this.element.hidden = false;
    this.#place(tile);
  }

  /**
   * @param {HTMLElement} tile
   * @param {Asset} asset
   */
  #fill(tile, asset) {
    this.#shown = { tile, asset };
    this.#words.replaceChildren(...(asset.text ? markedText(asset) : [isolate(asset.name)]));
    this.#reason.textContent = matchReason(asset);
    this.#tags.textContent = asset.tags.map(({ name }) => isolate(name)).join(" · ");
    setAttribute(this.#favorite, "aria-pressed", String(asset.favorite));
    this.#stack.hidden = !asset.near_duplicate_count;
    setText(this.#stack, `+${asset.near_duplicate_count}`);
    setAttribute(this.#stack, "aria-label", `Show ${asset.near_duplicate_count} more that look the same`);
    const isMoving = MOVING_TYPES.includes(asset.mime ?? "") && !this.#reducedMotion.matches;
    setPicture(this.#moving, isMoving ? originalUrl(asset) : null);
  }

  /** @param {HTMLElement} tile */
  #place(tile) {
    const [{ x, y, width, height }, origin] = [tile.getBoundingClientRect(), this.view.getBoundingClientRect()];
    const { style } = this.element;
    style.transform = `translate(${x - origin.x}px, ${y - origin.y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
  }

  /** @param {EventTarget | null} next where the pointer or the focus goes */
  #hideUnless(next) {
    if (!(next instanceof Node && (this.element.contains(next) || this.view.contains(next)))) this.#hide();
  }

  #hide() {
    this.#shown = null;
    this.element.hidden = true;
    setPicture(this.#moving, null);
  }
}
