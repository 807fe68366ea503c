/** The panel beside the picture in the viewer: its words, what can be done with it, and what is known about it. */

import { markedText, matchReason } from "./marked_text.js";
import { copyPath, shareLink } from "./share.js";
import { TagSuggestions } from "./tag_suggestions.js";
import { copyText, download, openOriginal, showInFolder } from "./take_out.js";
import { openDialog } from "../ui/dialog.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { escapeInvisible, isolate } from "../ui/filename.js";
import { formatDate, formatNumber, formatSize } from "../ui/format.js";

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{name: (name: string) => void, show: (name: string) => void}} TemplateHandlers */

export class ViewerDetails {
  #title = element("h2", { id: "viewer-title" });
  #caption = element("p", { class: "caption" });
  #reason = element("p", { class: "reason dim" });
  #facts = element("dl", { class: "facts" });
  #favorite = button("Favourite", () => this.handlers.onFavorite(), { "aria-keyshortcuts": "f" });
  #copyWords = button("Copy text", () => void copyText(this.#asset?.text ?? "", "Text"));
  #share = button("Share link", () => this.#asset && void shareLink(this.#asset, this.handlers.canExpire));
  #copyPath = button("Copy path", () => this.#asset && void copyPath(this.#asset, this.handlers.canShare));
  #reveal = button("Show in folder", () => this.#asset && void showInFolder(this.#asset));
  #similar = button("Similar", () => this.handlers.onSimilar?.());
  #nameTemplate = button("Name this template", () => this.#askTemplate());
  #moreOfTemplate = button("More of this template", () => this.handlers.onTemplate?.show(this.#templateName));
  #tags = element("input", {
    id: "tags", type: "text", autocomplete: "off", maxlength: 500, "aria-describedby": "tags-hint",
  });
  /** @type {Asset | null} */
  #asset = null;

  /**
   * @param {object} handlers
   * @param {boolean} handlers.canShare the library makes links that open for others
   * @param {boolean} handlers.canExpire its links may end after some days
   * @param {() => void} handlers.onCopy
   * @param {() => void} handlers.onFavorite
   * @param {(tags: string[]) => void} handlers.onTags
   * @param {() => void} handlers.onDelete
   * @param {(() => void) | null} handlers.onSimilar null if the server cannot search for similar pictures
   * @param {TemplateHandlers | null} handlers.onTemplate null if the server does not know templates
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.copy = button("Copy", handlers.onCopy, { class: "primary", "aria-keyshortcuts": "c" });
    const act = (/** @type {(asset: Asset) => void} */ action) => () => this.#asset && action(this.#asset);
    const hint = element("p", { id: "tags-hint", class: "dim" }, "Separate tags with commas. Press Enter to save.");
    const form = element("form", { class: "tag-form" }, element("label", { for: "tags" }, "Tags"), this.#tags, hint);
    new TagSuggestions(this.#tags);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      handlers.onTags(this.#tags.value.split(",").map((tag) => tag.trim()).filter(Boolean));
    });
    this.element = element(
      "div", { class: "details" },
      element("div", { class: "said" }, this.#caption, this.#reason, this.#copyWords),
      element("div", { class: "viewer-actions" },
        this.copy,
        button("Download", act(download), { "aria-keyshortcuts": "d" }),
        button("Open", act(openOriginal), { "aria-keyshortcuts": "o" }),
        this.#favorite, this.#similar, this.#moreOfTemplate, this.#nameTemplate,
        this.#reveal, this.#copyPath, this.#share),
      this.#title, this.#facts, form,
      button("Delete", handlers.onDelete, { class: "danger", "aria-keyshortcuts": "Delete" }));
  }

  /** @param {Asset} asset */
  show(asset) {
    this.#asset = asset;
    this.#caption.replaceChildren(...(asset.text ? markedText(asset) : []));
    this.#copyWords.hidden = !asset.text;
    setText(this.#reason, matchReason(asset));
    setText(this.#title, isolate(asset.name));
    this.#facts.replaceChildren(...factsOf(asset));
    setAttribute(this.#favorite, "aria-pressed", String(asset.favorite));
    setText(this.#favorite, asset.favorite ? "★ Favourite" : "☆ Favourite");
    this.#share.hidden = !this.handlers.canShare;
    this.#reveal.hidden = this.#copyPath.hidden = asset.path === null; // only the daemon knows files
    this.#similar.hidden = this.handlers.onSimilar === null;
    this.#nameTemplate.hidden = this.handlers.onTemplate === null;
    this.#moreOfTemplate.hidden = this.handlers.onTemplate === null || !this.#templateName;
    if (document.activeElement !== this.#tags) { // not while the user edits them
      this.#tags.value = asset.tags.map(({ name }) => escapeInvisible(name)).join(", ");
    }
  }

  get #templateName() {
    return this.#asset?.templates?.[0] ?? "";
  }

  #askTemplate() {
    const name = element("input", { id: "template-name", type: "text", maxlength: 200, autocomplete: "off" });
    name.value = escapeInvisible(this.#templateName);
    const save = element("button", { type: "submit", class: "primary" }, "Save");
    const form = element(
      "form", { class: "tag-form" },
      element("label", { for: "template-name" }, "All pictures that show the same template get this name."),
      name, element("div", { class: "actions" }, button("Cancel", () => dialog.close()), save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      if (name.value.trim()) this.handlers.onTemplate?.name(name.value.trim());
    });
    const dialog = openDialog("Name this template", form);
    name.focus();
  }
}

/** @param {Asset} asset */
function factsOf({ width, height, size, created_at, near_duplicate_count, templates, path }) {
  const pixels = width && height ? `${width} × ${height}` : "";
  /** @type {[string, (string | HTMLElement)[]][]} */
  const facts = [
    ["Size", [[pixels, size ? formatSize(size) : ""].filter(Boolean).join(" · ")]],
    ["Added", [created_at ? formatDate(created_at) : ""]],
    ["Similar", [near_duplicate_count ? `${formatNumber(near_duplicate_count)} more` : ""]],
    ["Template", [(templates ?? []).map(isolate).join(", ")]],
    ["File", path ? breakablePath(path) : [""]],
  ];
  return facts.filter(([, value]) => value[0] !== "").flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, ...value)]);
}

/**
 * Return a path that breaks after a slash and not inside a name, with `~` for the home folder.
 * @param {string} path
 */
export function breakablePath(path) {
  const parts = isolate(path.replace(/^\/(?:home|Users)\/[^/]+(?=\/)/, "~")).split(/(?<=\/)/);
  return parts.flatMap((part, index) => (index ? [element("wbr"), part] : [part]));
}
