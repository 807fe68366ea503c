/** Dialog that shows one picture in full size, its details and its actions. */

import { altText, originalUrl } from "./asset.js";
import { send } from "./client.js";
import { descriptionList } from "./dialog.js";
import { button, element, setAttribute, setText } from "./dom.js";
import { escapeInvisible, isolate } from "./filename.js";
import { formatNumber, formatSize, formatTime } from "./format.js";
import { isTyping } from "./keys.js";
import { showToast, withErrorToast } from "./toast.js";

/** @typedef {import("./asset.js").Asset} Asset */

/**
 * @typedef {object} ViewerHandlers
 * @property {(by: number) => void} onStep to the next picture (1) or the previous one (-1)
 * @property {(asset: Asset) => void} onChange
 * @property {(asset: Asset) => void} onDelete
 * @property {((asset: Asset) => void) | null} onSimilar null if the server cannot search for similar pictures
 * @property {() => void} onClose
 */

export class Viewer {
  #picture = element("img", { id: "picture" });
  #facts = element("div");
  #caption = element("p", { class: "caption" });
  #title = element("h2", { id: "viewer-title" });
  #favorite = button("Favourite", () => void this.toggleFavorite(), { "aria-pressed": "false" });
  #similar = button("Similar", () => this.handlers.onSimilar?.(this.asset));
  #tags = element("input", {
    id: "tags", type: "text", autocomplete: "off", maxlength: 500, "aria-describedby": "tags-hint",
  });

  /**
   * @param {Asset} asset
   * @param {ViewerHandlers} handlers
   */
  constructor(asset, handlers) {
    this.asset = asset;
    this.handlers = handlers;
    const step = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ sign) =>
      button(sign, () => handlers.onStep(by), { class: "step", "aria-label": label });
    const hint = element("p", { id: "tags-hint", class: "dim" }, "Separate tags with commas. Press Enter to save.");
    const tags = element("form", { class: "tag-form" }, element("label", { for: "tags" }, "Tags"), this.#tags, hint);
    tags.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#saveTags();
    });
    const [previous, next] = [step(-1, "Previous picture", "‹"), step(1, "Next picture", "›")];
    const close = button("×", () => this.close(), { class: "close", "aria-label": "Close" });
    this.dialog = element(
      "dialog",
      { class: "viewer", "aria-labelledby": "viewer-title" },
      element("div", { class: "stage" }, previous, this.#picture, next),
      element("div", { class: "details" },
        element("div", { class: "title" }, this.#title, close),
        this.#caption,
        element("div", { class: "viewer-actions" },
          this.#favorite, this.#similar,
          button("Copy image", () => void this.#copyImage()),
          button("Copy link", () => void this.#copyLink())),
        this.#facts, tags,
        button("Delete", () => handlers.onDelete(this.asset), { class: "danger" })),
    );
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      handlers.onClose();
    });
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.close());
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
    document.body.append(this.dialog);
    this.show(asset);
    this.dialog.showModal();
    this.#favorite.focus({ preventScroll: true });
  }

  /** @param {Asset} asset */
  show(asset) {
    this.asset = asset;
    setAttribute(this.#picture, "src", originalUrl(asset));
    setAttribute(this.#picture, "alt", altText(asset));
    setText(this.#title, isolate(asset.name));
    const pixels = asset.width && asset.height ? `${asset.width} × ${asset.height}` : "";
    this.#facts.replaceChildren(descriptionList([
      ["Size", [pixels, asset.size ? formatSize(asset.size) : ""].filter(Boolean).join(" · ")],
      ["Added", asset.created_at && formatTime(asset.created_at)],
      ["Similar", asset.near_duplicate_count ? `${formatNumber(asset.near_duplicate_count)} more` : null],
      ["File", asset.path && isolate(asset.path)],
    ]));
    setText(this.#caption, asset.text ? escapeInvisible(asset.text.replace(/\s+/g, " ")) : "");
    setAttribute(this.#favorite, "aria-pressed", String(asset.favorite));
    this.#similar.hidden = this.handlers.onSimilar === null;
    if (document.activeElement !== this.#tags) { // not while the user edits them
      this.#tags.value = asset.tags.map(({ name }) => escapeInvisible(name)).join(", ");
    }
  }

  close() {
    this.dialog.close();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") this.handlers.onStep(-1);
    else if (event.key === "ArrowRight") this.handlers.onStep(1);
    else if (event.key === "f") void this.toggleFavorite();
    else if (event.key === "Delete") this.handlers.onDelete(this.asset);
    else return;
    event.preventDefault();
  }

  /** @param {{favorite?: boolean, tags?: string[]}} changes */
  async #update(changes) {
    const path = `/v1/library/${encodeURIComponent(this.asset.id)}`;
    /** @type {{asset: Asset} | null} */
    const reply = await withErrorToast(send("PATCH", path, changes));
    if (!reply) return null;
    // The reply lacks what only a search returns (score, text, near-duplicates): merge the fields that can change.
    const { favorite, tags } = reply.asset;
    const asset = { ...this.asset, favorite, tags };
    this.show(asset);
    this.handlers.onChange(asset);
    return asset;
  }

  async toggleFavorite() {
    const asset = await this.#update({ favorite: !this.asset.favorite });
    if (asset) showToast(asset.favorite ? "Added to favourites." : "Removed from favourites.");
  }

  async #saveTags() {
    const tags = this.#tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    if (await this.#update({ tags })) showToast("Tags saved.");
  }

  /** Copy the picture as PNG, the only image format that every browser accepts on the clipboard. */
  async #copyImage() {
    const picture = this.#picture;
    const canvas = element("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    const png = new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture cannot be copied"))), "image/png"));
    // Safari allows clipboard.write only within the click: pass the promise instead of awaiting the blob first.
    const item = new ClipboardItem({ "image/png": /** @type {Promise<Blob>} */ (png) });
    if ((await withErrorToast(navigator.clipboard.write([item]))) !== null) showToast("Image copied.");
  }

  async #copyLink() {
    const link = this.asset.link ?? this.asset.path ?? new URL(originalUrl(this.asset), location.href).href;
    if ((await withErrorToast(navigator.clipboard.writeText(link))) !== null) showToast("Link copied.");
  }
}
