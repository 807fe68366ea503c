/** Changes many pictures at once, so that each change can be undone. */

import { send } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { isolate } from "../ui/filename.js";
import { formatCount } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

export const CHANGED_MAX = 500; // in one request

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{favorite?: boolean, add_tags?: string[], remove_tags?: string[], delete?: true, restore?: true, purge?: true}} Change */
/** @typedef {[Asset[], Change]} ChangeOf pictures and what changes about them */

export class AssetChanges {
  hasTrash = false; // the library can restore what was deleted

  /**
   * @param {import("./undo_stack.js").UndoStack} undos
   * @param {() => void} onChange
   */
  constructor(undos, onChange) {
    this.undos = undos;
    this.onChange = onChange;
  }

  /**
   * @param {Asset[]} assets
   * @param {string} tag
   */
  async addTag(assets, tag) {
    const untagged = assets.filter(({ tags }) => !tags.some(({ name }) => isSameTag(name, tag)));
    await this.#apply([[assets, { add_tags: [tag] }]], [[untagged, { remove_tags: [tag] }]],
      `Tagged ${countOf(assets)} with '${tag}'.`);
  }

  /**
   * @param {Asset[]} assets that have the tag, perhaps still under the name before it was renamed
   * @param {string} tag
   */
  async removeTag(assets, tag) {
    await this.#apply([[assets, { remove_tags: [tag] }]], [[assets, { add_tags: [tag] }]],
      `Removed the tag '${tag}' from ${countOf(assets)}.`);
  }

  /**
   * @param {Asset[]} assets
   * @param {boolean} favorite
   */
  async setFavorite(assets, favorite) {
    const changed = assets.filter((asset) => asset.favorite !== favorite);
    await this.#apply([[changed, { favorite }]], [[changed, { favorite: !favorite }]],
      favorite ? `${countOf(changed)} added to the favourites.` : `${countOf(changed)} removed from the favourites.`);
  }

  /**
   * Move pictures into the trash; without one, delete them after a question. Returns whether they are deleted.
   * @param {Asset[]} assets
   */
  async delete(assets) {
    const question = `Delete ${countOf(assets)}?`;
    const details = "This server has no trash to restore them from.";
    if (!this.hasTrash && !(await confirmDialog(question, "Delete", details))) return false;
    const inverse = /** @type {ChangeOf[]} */ (this.hasTrash ? [[assets, { restore: true }]] : []);
    return this.#apply([[assets, { delete: true }]], inverse, `Deleted ${countOf(assets)}.`);
  }

  /** @param {Asset[]} assets in the trash */
  async restore(assets) {
    return this.#apply([[assets, { restore: true }]], [[assets, { delete: true }]], `Restored ${countOf(assets)}.`);
  }

  /**
   * Delete pictures in the trash for good, after a question. Returns whether they are deleted.
   * @param {Asset[]} assets
   */
  async purge(assets) {
    const question = `Delete ${countOf(assets)} for good?`;
    if (!(await confirmDialog(question, "Delete for good", "They cannot be restored afterwards."))) return false;
    return this.#apply([[assets, { purge: true }]], [], `Deleted ${countOf(assets)} for good.`);
  }

  /**
   * Keep the best of each group and delete the others; the best takes over their tags and favourites.
   * @param {{best: Asset, others: Asset[]}[]} groups
   */
  async keepBest(groups) {
    /** @type {ChangeOf[]} */
    const changes = [];
    /** @type {ChangeOf[]} */
    const inverse = [];
    for (const { best, others } of groups) {
      const names = others.flatMap(({ tags }) => tags.map(({ name }) => name));
      const missing = [...new Set(names)].filter((each) => !best.tags.some(({ name }) => isSameTag(name, each)));
      const favorite = !best.favorite && others.some((asset) => asset.favorite);
      if (missing.length || favorite) {
        changes.push([[best], { add_tags: missing.slice(0, 20), ...(favorite ? { favorite } : {}) }]);
        inverse.push([[best], { remove_tags: missing.slice(0, 20), ...(favorite ? { favorite: false } : {}) }]);
      }
    }
    const others = groups.flatMap((group) => group.others);
    changes.push([others, { delete: true }]);
    if (this.hasTrash) inverse.push([others, { restore: true }]);
    return this.#apply(changes, this.hasTrash ? inverse : [], `Deleted ${formatCount(others.length, "duplicate")}.`);
  }

  /**
   * @param {ChangeOf[]} changes
   * @param {ChangeOf[]} inverse empty if the changes cannot be undone
   * @param {string} message
   */
  async #apply(changes, inverse, message) {
    const done = await withErrorToast(sendAll(changes));
    this.onChange();
    if (done === null) return false;
    if (!inverse.length) showToast(message);
    else {
      const undo = this.undos.push(() => void this.#undo(inverse));
      showToast(message, { undo });
    }
    return true;
  }

  /** @param {ChangeOf[]} inverse */
  async #undo(inverse) {
    if ((await withErrorToast(sendAll(inverse))) !== null) showToast("Undone.");
    this.onChange();
  }
}

/** @param {ChangeOf[]} changes */
async function sendAll(changes) {
  for (const [assets, change] of changes) {
    for (let start = 0; start < assets.length; start += CHANGED_MAX) {
      const ids = assets.slice(start, start + CHANGED_MAX).map(({ id }) => id);
      await send("POST", "/v1/library/changes", { ids, ...change });
    }
  }
  return true;
}

/** @param {Asset[]} assets */
function countOf(assets) {
  const [first] = assets;
  return first && assets.length === 1 ? isolate(first.name) : formatCount(assets.length, "picture");
}

/**
 * @param {string} one
 * @param {string} other
 */
function isSameTag(one, other) {
  return one.toLowerCase() === other.toLowerCase();
}
