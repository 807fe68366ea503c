/** What can be done with the selected pictures: tag, favourite, download, delete. */

import { TagSuggestions } from "./tag_suggestions.js";
import { CHANGED_MAX } from "./asset_changes.js";
import { openDialog } from "../ui/dialog.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { formatCount, formatNumber } from "../ui/format.js";
import { showToast } from "../ui/toast.js";

const TAG_CHARS_MAX = 50;

/** @typedef {import("./asset.js").Asset} Asset */

export class SelectionBar {
  #count = element("span", { class: "selected-count", role: "status" });
  #favorite = button("Favourite", () => void this.#toggleFavorite());
  #removeTag = button("Remove tag", () => void this.#removeShownTag(), { hidden: true });
  /** @type {{id: string, name: string} | null} */
  #shownTag = null;

  /**
   * @param {HTMLElement} root
   * @param {import("./selected_assets.js").SelectedAssets} selected
   * @param {import("./asset_changes.js").AssetChanges} changes
   * @param {{onAll: () => void, onStop: () => void}} handlers
   */
  constructor(root, selected, changes, handlers) {
    this.selected = selected;
    this.changes = changes;
    this.handlers = handlers;
    this.bar = element(
      "div", { class: "selection-bar", role: "toolbar", "aria-label": "Selected pictures", hidden: true },
      this.#count,
      button("Select all", handlers.onAll, { "aria-keyshortcuts": "Control+A" }),
      button("Tag", () => this.#askForTag()),
      this.#removeTag,
      this.#favorite,
      button("Download", () => this.#download()),
      button("Delete", () => void this.#delete(), { class: "danger", "aria-keyshortcuts": "Delete" }),
      button("Done", handlers.onStop, { class: "primary", "aria-keyshortcuts": "Escape" }));
    root.append(this.bar);
  }

  /**
   * @param {boolean} isSelecting also without a selected picture
   * @param {{id: string, name: string} | null} shownTag whose pictures the wall shows
   */
  update(isSelecting, shownTag) {
    const { size, assets } = this.selected;
    this.#shownTag = shownTag;
    this.bar.hidden = !size && !isSelecting;
    setText(this.#count, size ? `${formatNumber(size)} selected` : "Click pictures to select them");
    setText(this.#favorite, this.#areFavorites ? "Not favourite" : "Favourite");
    this.#removeTag.hidden = shownTag === null;
    setText(this.#removeTag, shownTag ? `Remove '${shownTag.name}'` : "");
    for (const each of this.bar.querySelectorAll("button:not([aria-keyshortcuts='Control+A'], .primary)")) {
      setAttribute(each, "disabled", !assets.length);
    }
  }

  get #areFavorites() {
    return this.selected.size > 0 && this.selected.assets.every(({ favorite }) => favorite);
  }

  /** Tag, favourite, download and delete act on all selected pictures. */
  async #toggleFavorite() {
    await this.changes.setFavorite(this.selected.assets, !this.#areFavorites);
  }

  async #removeShownTag() {
    if (this.#shownTag) await this.changes.removeTag(this.selected.assets, this.#shownTag.name);
  }

  async #delete() {
    if (await this.changes.delete(this.selected.assets)) this.handlers.onStop();
  }

  /** Return true if the key is a shortcut for the selected pictures. @param {string} key */
  onKey(key) {
    if (!this.selected.size) return false;
    if (key === "Delete") void this.#delete();
    else if (key === "f") void this.#toggleFavorite();
    else if (key === "d") this.#download();
    else if (key === "t") this.#askForTag();
    else return false;
    return true;
  }

  #askForTag() {
    const { assets } = this.selected;
    const input = element("input", { type: "text", maxlength: TAG_CHARS_MAX, "aria-label": "Tag name", required: true, autofocus: true });
    const form = element("form", { class: "add-tag" }, element("div", { class: "combobox" }, input),
      element("div", { class: "actions" },
        button("Cancel", () => dialog.close()), element("button", { class: "primary" }, "Add tag")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (!name) return;
      dialog.close();
      void this.changes.addTag(assets, name);
    });
    const dialog = openDialog(`Tag ${formatCount(assets.length, "picture")}`, form);
    new TagSuggestions(input);
    input.focus();
  }

  /** Download the originals: one as it is, several in a zip. */
  #download() {
    const { assets } = this.selected;
    if (assets.length > CHANGED_MAX) return showToast(`At most ${CHANGED_MAX} pictures fit into one download.`);
    const ids = assets.map(({ id }) => encodeURIComponent(id)).join(",");
    element("a", { href: `/v1/library/zip?ids=${ids}`, download: "memes.zip" }).click();
    showToast(`Downloading ${formatCount(assets.length, "picture")} as memes.zip.`);
  }
}
