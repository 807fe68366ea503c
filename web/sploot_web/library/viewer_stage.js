/** The picture of the viewer in full size: arrows beside it, zoom, full screen, swipe. A video has a player instead. */

import { altText, isVideo, originalUrl, thumbnailUrl } from "./asset.js";
import { iconButton } from "./icons.js";
import { createPicture, setPicture } from "./picture.js";
import { dragOriginal } from "./take_out.js";
import { NO_ZOOM, panBy, zoomAt } from "./zoom.js";
import { element, setAttribute } from "../ui/dom.js";

const ZOOM_STEP = 1.5;
const DOUBLE_CLICK_ZOOM = 2.5;
const WHEEL_PX = 300; // of a wheel that zoom by the factor e
const SWIPE_PX = 50;
const POSTER_PX = 1024;

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{x: number, y: number}} Point */

export class ViewerStage {
  #picture = createPicture({ id: "picture" });
  #player = element("video", { id: "player", controls: true, loop: true, playsinline: true, preload: "metadata" });
  #zoom = NO_ZOOM;
  /** @type {Map<number, Point>} where the pressed pointers are, by pointer id */
  #pointers = new Map();
  /** @type {Point | null} where a single finger was put down */
  #swipeFrom = null;
  /** @type {Asset | null} */
  #asset = null;

  /**
   * @param {object} handlers
   * @param {(by: 1 | -1) => void} handlers.onStep
   * @param {() => void} handlers.onClose
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.element = element(
      "div", { class: "stage" },
      this.#picture,
      this.#player,
      iconButton("previous", "Previous picture", () => handlers.onStep(-1), { class: "step" }),
      iconButton("next", "Next picture", () => handlers.onStep(1), { class: "step next" }),
      element("div", { class: "stage-tools" },
        iconButton("smaller", "Zoom out", () => this.zoomBy(1 / ZOOM_STEP), { "aria-keyshortcuts": "-" }),
        iconButton("larger", "Zoom in", () => this.zoomBy(ZOOM_STEP), { "aria-keyshortcuts": "+" }),
        iconButton("screen", "Full screen", () => void this.toggleFullScreen(), { "aria-keyshortcuts": "Shift+F" }),
        iconButton("close", "Close", handlers.onClose, { class: "close" })));
    this.#picture.addEventListener("dragstart", (event) => this.#asset && dragOriginal(event, this.#asset));
    this.#player.addEventListener("error", () => setAttribute(this.element, "data-picture", "broken"));
    this.#picture.addEventListener("dblclick", (event) => this.#toggleZoom(event));
    this.element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.element.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    this.element.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      this.element.addEventListener(end, (event) => this.#onPointerUp(event));
    }
  }

  /** @param {Asset} asset */
  show(asset) {
    if (asset.id !== this.#asset?.id) this.#setZoom(NO_ZOOM);
    this.#asset = asset;
    const isPlayed = isVideo(asset);
    this.#picture.hidden = isPlayed;
    this.#player.hidden = !isPlayed;
    setPicture(this.#picture, isPlayed ? null : originalUrl(asset));
    setAttribute(this.#picture, "alt", altText(asset));
    this.#setPlayer(isPlayed ? asset : null);
  }

  /** @param {Asset | null} asset null without a video */
  #setPlayer(asset) {
    const url = asset && originalUrl(asset);
    if (asset) setAttribute(this.#player, "aria-label", altText(asset));
    if (url === this.#player.getAttribute("src")) return;
    setAttribute(this.#player, "poster", asset && thumbnailUrl(asset, POSTER_PX));
    setAttribute(this.#player, "src", url);
    this.#player.load(); // without a source it stops
    if (url) setAttribute(this.element, "data-picture", "loaded");
  }

  /**
   * Zoom, or change to full screen, by key. Returns true if the key is one of them.
   * @param {string} key
   */
  onKey(key) {
    if (key === "+" || key === "=") this.zoomBy(ZOOM_STEP);
    else if (key === "-") this.zoomBy(1 / ZOOM_STEP);
    else if (key === "0") this.#setZoom(NO_ZOOM);
    else if (key === "F") void this.toggleFullScreen();
    else return false;
    return true;
  }

  /**
   * @param {number} factor
   * @param {Point} [point] from the middle of the stage
   */
  zoomBy(factor, point = { x: 0, y: 0 }) {
    this.#setZoom(zoomAt(this.#zoom, factor, point, this.#size));
  }

  async toggleFullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.element.requestFullscreen();
  }

  /** The size of the picture on the screen without zoom; transforms do not change it. */
  get #size() {
    return { width: this.#picture.offsetWidth, height: this.#picture.offsetHeight };
  }

  /** @param {import("./zoom.js").Zoom} zoom */
  #setZoom(zoom) {
    this.#zoom = zoom;
    const { scale, x, y } = zoom;
    this.#picture.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
    this.#picture.draggable = scale === 1; // a drag moves a zoomed picture
    setAttribute(this.element, "data-zoomed", scale > 1);
  }

  /** @param {MouseEvent} event */
  #toggleZoom(event) {
    if (this.#zoom.scale > 1) this.#setZoom(NO_ZOOM);
    else this.zoomBy(DOUBLE_CLICK_ZOOM, this.#fromMiddle({ x: event.clientX, y: event.clientY }));
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / WHEEL_PX), this.#fromMiddle({ x: event.clientX, y: event.clientY }));
  }

  /** @param {Point} point of the window */
  #fromMiddle({ x, y }) {
    const box = this.element.getBoundingClientRect();
    return { x: x - box.x - box.width / 2, y: y - box.y - box.height / 2 };
  }

  /** @param {PointerEvent} event */
  #onPointerDown(event) {
    if (event.target instanceof Element && event.target.closest("button, video")) return;
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const isFinger = event.pointerType !== "mouse" && this.#pointers.size === 1 && this.#zoom.scale === 1;
    this.#swipeFrom = isFinger ? { x: event.clientX, y: event.clientY } : null;
    if (this.#zoom.scale > 1) this.element.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #onPointerMove(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    this.#pointers.set(event.pointerId, now);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
      this.zoomBy(distance(now, other) / Math.max(1, distance(before, other)), this.#fromMiddle(middle));
    } else if (this.#zoom.scale > 1) {
      this.#setZoom(panBy(this.#zoom, { x: now.x - before.x, y: now.y - before.y }, this.#size));
    }
  }

  /** @param {PointerEvent} event */
  #onPointerUp(event) {
    this.#pointers.delete(event.pointerId);
    const from = this.#swipeFrom;
    this.#swipeFrom = null;
    if (!from || event.type === "pointercancel") return;
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (Math.abs(x) > SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) this.handlers.onStep(x < 0 ? 1 : -1);
  }
}

/**
 * @param {Point} a
 * @param {Point} b
 */
function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
