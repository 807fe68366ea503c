/** Dialog that shows one picture in full size, its words, its details and its actions. */

import { takeOut } from "./take_out.js";
import { ViewerDetails } from "./viewer_details.js";
import { ViewerStage } from "./viewer_stage.js";
import { send } from "../ui/client.js";
import { element } from "../ui/dom.js";
import { isTyping } from "../ui/keys.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/** @typedef {import("./asset.js").Asset} Asset */

/**
 * @typedef {object} ViewerHandlers
 * @property {(by: 1 | -1) => void} onStep to the next picture (1) or the previous one (-1)
 * @property {(asset: Asset) => void} onChange
 * @property {(asset: Asset) => void} onCopy
 * @property {(asset: Asset) => void} onDelete
 * @property {((asset: Asset) => void) | null} onSimilar null if the server cannot search for similar pictures
 * @property {boolean} canShare the library makes links that open for others
 * @property {boolean} canExpire its links may end after some days
 * @property {((name: string) => void) | null} onTemplate shows the pictures of a template; null without templates
 * @property {() => void} onClose
 */

export class Viewer {
  #stage;
  #details;

  /**
   * @param {Asset} asset
   * @param {ViewerHandlers} handlers
   */
  constructor(asset, handlers) {
    this.asset = asset;
    this.handlers = handlers;
    const { onSimilar, onTemplate } = handlers;
    this.#stage = new ViewerStage({ onStep: handlers.onStep, onClose: () => this.close() });
    this.#details = new ViewerDetails({
      canShare: handlers.canShare,
      canExpire: handlers.canExpire,
      onCopy: () => handlers.onCopy(this.asset),
      onFavorite: () => void this.toggleFavorite(),
      onTags: (tags) => void this.#saveTags(tags),
      onDelete: () => handlers.onDelete(this.asset),
      onTemplate: onTemplate && { name: (name) => void this.#nameTemplate(name), show: onTemplate },
      onSimilar: onSimilar && (() => onSimilar(this.asset)),
    });
    this.dialog = element(
      "dialog", { class: "viewer", "aria-labelledby": "viewer-title" }, this.#stage.element, this.#details.element);
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      handlers.onClose();
    });
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
    document.body.append(this.dialog);
    this.show(asset);
    this.dialog.showModal();
    this.#details.copy.focus({ preventScroll: true });
  }

  /** @param {Asset} asset */
  show(asset) {
    this.asset = asset;
    this.#stage.show(asset);
    this.#details.show(asset);
  }

  close() {
    this.dialog.close();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const isPlayer = event.target instanceof HTMLVideoElement; // which has keys of its own
    if (isTyping(event.target) || isPlayer || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") this.handlers.onStep(-1);
    else if (event.key === "ArrowRight") this.handlers.onStep(1);
    else if (event.key === "c") this.handlers.onCopy(this.asset);
    else if (event.key === "f") void this.toggleFavorite();
    else if (event.key === "Delete") this.handlers.onDelete(this.asset);
    else if (!this.#stage.onKey(event.key) && !takeOut(event.key, this.asset)) return;
    event.preventDefault();
  }

  /** @param {{favorite?: boolean, tags?: string[]}} changes */
  async #update(changes) {
    /** @type {{asset: Asset} | null} */
    const reply = await withErrorToast(send("PATCH", this.#path, changes));
    if (!reply) return null;
    // The reply lacks what only a search returns (score, text, near-duplicates): merge the fields that can change.
    const { favorite, tags } = reply.asset;
    const asset = { ...this.asset, favorite, tags };
    this.show(asset);
    this.handlers.onChange(asset);
    return asset;
  }

  get #path() {
    return `/v1/library/${encodeURIComponent(this.asset.id)}`;
  }

  /** @param {string} name */
  async #nameTemplate(name) {
    /** @type {{asset: Asset} | null} */
    const reply = await withErrorToast(send("PUT", `${this.#path}/template`, { name }));
    if (!reply) return;
    const asset = { ...this.asset, templates: reply.asset.templates ?? [] };
    this.show(asset);
    this.handlers.onChange(asset);
    showToast("Template saved.");
  }

  async toggleFavorite() {
    const asset = await this.#update({ favorite: !this.asset.favorite });
    if (asset) showToast(asset.favorite ? "Added to favourites." : "Removed from favourites.");
  }

  /** @param {string[]} tags */
  async #saveTags(tags) {
    if (await this.#update({ tags })) showToast("Tags saved.");
  }
}
