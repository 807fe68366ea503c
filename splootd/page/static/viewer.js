/** One picture, large: what it is, what is written in it, and what can be done with it. */

import { described, original } from "./asset.js";
import { change } from "./client.js";
import { facts } from "./dialog.js";
import { button, element, put, write } from "./element.js";
import { isTyping } from "./keys.js";
import { isolated, safe } from "./names.js";
import { say, tried } from "./say.js";
import { moment, number, size } from "./words.js";

/** @typedef {import("./asset.js").Asset} Asset */

/**
 * @typedef {object} Around
 * @property {(by: number) => void} step to the next picture, or the one before
 * @property {(asset: Asset) => void} changed
 * @property {(asset: Asset) => void} remove
 * @property {((asset: Asset) => void) | null} similar null where the library does not offer it
 * @property {() => void} closed
 */

export class Viewer {
  #picture = element("img", { id: "picture" });
  #facts = element("div");
  #words = element("p", { class: "words" });
  #title = element("h2", { id: "viewer-title" });
  #star = button("Favourite", () => void this.toggleFavorite(), { "aria-pressed": "false" });
  #similar = button("Similar", () => this.around.similar?.(this.asset));
  #tags = element("input", { id: "tags", type: "text", autocomplete: "off", maxlength: 500, "aria-describedby": "tags-how" });

  /**
   * @param {Asset} asset
   * @param {Around} around
   */
  constructor(asset, around) {
    this.asset = asset;
    this.around = around;
    const step = (/** @type {number} */ by, /** @type {string} */ says, /** @type {string} */ sign) =>
      button(sign, () => around.step(by), { class: "step", "aria-label": says });
    const how = element("p", { id: "tags-how", class: "dim" }, "Commas part them; Enter keeps them.");
    const tags = element("form", { class: "tagging" }, element("label", { for: "tags" }, "Tags"), this.#tags, how);
    tags.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#tag();
    });
    this.dialog = element(
      "dialog",
      { class: "viewer", "aria-labelledby": "viewer-title" },
      element("div", { class: "stage" }, step(-1, "previous picture", "‹"), this.#picture, step(1, "next picture", "›")),
      element("div", { class: "aside" },
        element("div", { class: "title" }, this.#title, button("×", () => this.close(), { class: "shut", "aria-label": "Close" })),
        this.#words,
        element("div", { class: "deeds" },
          this.#star, this.#similar,
          button("Copy image", () => void this.#copyImage()),
          button("Copy link", () => void this.#copyLink())),
        this.#facts, tags,
        button("Delete", () => around.remove(this.asset), { class: "danger" })),
    );
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      around.closed();
    });
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.close());
    this.dialog.addEventListener("keydown", (event) => this.#pressed(event));
    document.body.append(this.dialog);
    this.show(asset);
    this.dialog.showModal();
    this.#star.focus({ preventScroll: true });
  }

  /** @param {Asset} asset */
  show(asset) {
    this.asset = asset;
    put(this.#picture, "src", original(asset));
    put(this.#picture, "alt", described(asset));
    write(this.#title, isolated(asset.name));
    const pixels = asset.width && asset.height ? `${asset.width} × ${asset.height}` : "";
    this.#facts.replaceChildren(facts([
      ["Size", [pixels, asset.size ? size(asset.size) : ""].filter(Boolean).join(" · ")],
      ["Added", asset.created_at && moment(asset.created_at)],
      ["Alike", asset.others ? `${number(asset.others)} more` : null],
      ["File", asset.path && isolated(asset.path)],
    ]));
    write(this.#words, asset.text ? safe(asset.text.replace(/\s+/g, " ")) : "");
    put(this.#star, "aria-pressed", String(asset.favorite));
    this.#similar.hidden = this.around.similar === null;
    if (document.activeElement !== this.#tags) this.#tags.value = asset.tags.map(({ name }) => safe(name)).join(", ");
  }

  close() {
    this.dialog.close();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") this.around.step(-1);
    else if (event.key === "ArrowRight") this.around.step(1);
    else if (event.key === "f") void this.toggleFavorite();
    else if (event.key === "Delete") this.around.remove(this.asset);
    else return;
    event.preventDefault();
  }

  /** @param {object} with_ */
  async #change(with_) {
    const path = `/v1/library/${encodeURIComponent(this.asset.id)}`;
    /** @type {{asset: Asset} | null} */
    const answer = await tried(change("PATCH", path, with_));
    if (!answer) return null;
    // What a change does not speak of stays as it was.
    const { favorite, tags } = answer.asset;
    const asset = { ...this.asset, favorite, tags };
    this.show(asset);
    this.around.changed(asset);
    return asset;
  }

  async toggleFavorite() {
    const asset = await this.#change({ favorite: !this.asset.favorite });
    if (asset) say(asset.favorite ? "A favourite now." : "No longer a favourite.");
  }

  async #tag() {
    const tags = this.#tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    if (await this.#change({ tags })) say("The tags are kept.");
  }

  /** Browsers take pictures into the clipboard as PNG. */
  async #copyImage() {
    const picture = this.#picture;
    const canvas = element("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    const png = new Promise((done, failed) =>
      canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture cannot be copied"))), "image/png"));
    const item = new ClipboardItem({ "image/png": /** @type {Promise<Blob>} */ (png) });
    if ((await tried(navigator.clipboard.write([item]))) !== null) say("The image is copied.");
  }

  async #copyLink() {
    const link = this.asset.link ?? this.asset.path ?? new URL(original(this.asset), location.href).href;
    if ((await tried(navigator.clipboard.writeText(link))) !== null) say("The link is copied.");
  }
}
