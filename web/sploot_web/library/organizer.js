/** Keeps the library in order: selection, changes to many pictures and their undoing, tags, duplicates, trash, links. */

import { AssetChanges } from "./asset_changes.js";
import { Duplicates } from "./duplicates.js";
import { SelectedAssets } from "./selected_assets.js";
import { SelectionBar } from "./selection_bar.js";
import { Links } from "./share.js";
import { Tags, deleteTag, renameTag } from "./tags.js";
import { Trash } from "./trash.js";
import { UndoStack } from "./undo_stack.js";
import { WallSelection } from "./wall_selection.js";
import { fetchTags } from "./tag_suggestions.js";
import { get } from "../ui/client.js";
import { button, element } from "../ui/dom.js";
import { isTyping } from "../ui/keys.js";
import { showToast } from "../ui/toast.js";

const FETCH_ROWS = 200;

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {import("./asset.js").Features} Features */

export class Organizer {
  undos = new UndoStack();
  changes = new AssetChanges(this.undos, () => this.#onChange());
  selected = new SelectedAssets(() => this.#onSelect());
  /** @type {{id: string, name: string} | null} the tag whose pictures the wall shows */
  #shownTag = null;
  #tagActions = element("span", { class: "tag-actions", hidden: true },
    button("Rename", () => void this.#renameShownTag()),
    button("Delete tag", () => void this.#deleteShownTag()));
  #pages = {
    tags: button("Tags", () => this.#showTags()),
    duplicates: button("Duplicates", () => new Duplicates(this.changes)),
    trash: button("Trash", () => new Trash(this.changes)),
    links: button("Links", () => new Links()),
  };

  /**
   * @param {import("./library.js").Library} library
   * @param {{root: HTMLElement, bar: HTMLElement}} places `bar` is the end of the bar over the wall
   */
  constructor(library, { root, bar }) {
    this.library = library;
    this.selection = new WallSelection(library.wall, this.selected, (...range) => this.#fetchRange(...range));
    this.bar = new SelectionBar(root, this.selected, this.changes, {
      onAll: () => void this.selection.selectAll(),
      onStop: () => this.selection.stop(),
    });
    const select = button("Select", () => {
      this.selection.isSelecting = true;
      this.#onSelect();
    });
    bar.append(this.#tagActions, element("span", { class: "space" }), ...Object.values(this.#pages), select);
    this.show({}, "");
    document.addEventListener("keydown", (event) => this.#onUndoKey(event));
  }

  /**
   * Show what this library can do, and the actions of the tag that the wall shows.
   * @param {Partial<Features>} features
   * @param {string} tagId
   */
  show(features, tagId) {
    this.features = features;
    this.changes.hasTrash = features.trash === true;
    this.#pages.duplicates.hidden = !features.duplicates;
    this.#pages.trash.hidden = !features.trash;
    this.#pages.links.hidden = !features.links;
    if (tagId !== (this.#shownTag?.id ?? "")) void this.#showTag(tagId);
  }

  /** @param {string} tagId */
  async #showTag(tagId) {
    this.#shownTag = tagId ? { id: tagId, name: "" } : null;
    const tags = tagId ? await fetchTags().catch(() => []) : [];
    if (this.#shownTag?.id === tagId) this.#shownTag = tags.find(({ id }) => id === tagId) ?? null;
    this.#tagActions.hidden = !this.#shownTag || !this.features?.tag_editing;
    this.#onSelect();
  }

  async #renameShownTag() {
    const renamed = this.#shownTag && (await renameTag(this.#shownTag));
    if (!renamed) return;
    this.#shownTag = null;
    this.library.showTag(renamed.id);
  }

  async #deleteShownTag() {
    const tags = await fetchTags().catch(() => []);
    const tag = tags.find(({ id }) => id === this.#shownTag?.id);
    if (tag && (await deleteTag(tag))) this.library.showTag("");
  }

  #showTags() {
    const canEdit = this.features?.tag_editing === true;
    new Tags({ canEdit }, ({ id }) => this.library.showTag(id), () => this.#onChange());
  }

  /**
   * Return whether the key acts on the selected pictures.
   * @param {string} key
   */
  onKey(key) {
    return this.bar.onKey(key);
  }

  #onSelect() {
    this.bar?.update(this.selection.isSelecting, this.#shownTag);
    this.library.wall.refresh();
  }

  /** The library has changed: show it, and take over what has changed about the selected pictures. */
  #onChange() {
    void this.library.reload().then(() => {
      const { pages } = this.library;
      this.selected.update((asset) => pages.rows.find(({ id }) => id === asset.id) ?? asset);
    });
  }

  /**
   * Return pictures of the list by their indices, loading those that the wall has not.
   * @param {number} first
   * @param {number} last
   */
  async #fetchRange(first, last) {
    const { pages, loader } = this.library;
    const known = Array.from({ length: Math.max(0, last - first + 1) }, (_, offset) => pages.row(first + offset));
    const loaded = known.filter((asset) => asset !== null);
    if (loaded.length === known.length) return loaded;
    /** @type {Asset[]} */
    const assets = [];
    for (let offset = first; offset <= last; offset += FETCH_ROWS) {
      const limit = Math.min(FETCH_ROWS, last - offset + 1);
      /** @type {import("./asset.js").AssetPage} */
      const page = await get("/v1/library", { ...loader.query, limit, offset });
      assets.push(...page.assets);
      if (!page.has_more) break;
    }
    return assets;
  }

  /** @param {KeyboardEvent} event */
  #onUndoKey(event) {
    const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (!isUndo || isTyping(event.target) || !this.library.isVisible) return;
    event.preventDefault();
    if (!this.undos.undoLast()) showToast("There is nothing to undo.");
  }
}
