/** Groups of pictures that look the same: keep the best, delete the others. */

import { createCard, openPage } from "./page_dialog.js";
import { errorText, get } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { formatCount, formatSize } from "../ui/format.js";

const PAGE_GROUPS = 20;

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{assets: Asset[], best: string, count: number}} DuplicateGroup */
/** @typedef {{groups: DuplicateGroup[], total: number, has_more: boolean}} DuplicatePage */

export class Duplicates {
  /** @type {DuplicateGroup[]} */
  #groups = [];
  #message = element("p", { class: "dim", role: "status" });
  #list = element("div", { class: "groups" });
  #all = button("", () => void this.#keepAll(), { class: "primary", hidden: true });

  /** @param {import("./asset_changes.js").AssetChanges} changes */
  constructor(changes) {
    this.changes = changes;
    openPage("Duplicates",
      element("div", { class: "bar" }, this.#message, element("span", { class: "space" }), this.#all),
      element("div", { class: "page-body" }, this.#list));
    void this.#load();
  }

  async #load() {
    try {
      /** @type {DuplicatePage} */
      const page = await get("/v1/library/duplicates", { limit: PAGE_GROUPS });
      this.#groups = page.groups;
      this.#list.replaceChildren(...page.groups.map((group) => this.#createGroup(group)));
      setText(this.#message, page.total
        ? `${formatCount(page.total, "group")} of pictures that look the same. The best has the most pixels.`
        : "No two pictures look the same.");
      setText(this.#all, `Keep the best of ${page.has_more ? `these ${page.groups.length}` : "all"}`);
      this.#all.hidden = page.groups.length < 2;
    } catch (error) {
      setText(this.#message, errorText(error));
    }
  }

  /** @param {DuplicateGroup} group */
  #createGroup(group) {
    const cards = group.assets.map((asset) => {
      const pixels = asset.width && asset.height ? `${asset.width} × ${asset.height}` : "";
      const note = [pixels, asset.size ? formatSize(asset.size) : ""].filter(Boolean).join(" · ");
      return createCard(asset, note, () => {
        group.best = asset.id;
        mark();
      });
    });
    const mark = () => cards.forEach((card, index) =>
      setAttribute(card, "aria-pressed", String(group.assets[index]?.id === group.best)));
    mark();
    const others = group.assets.length - 1;
    const keep = button(`Keep the best, delete ${others === 1 ? "the other" : `the ${others} others`}`, () => void this.#keep([group]));
    const more = group.count > group.assets.length ? element("p", { class: "dim" }, `${group.count - group.assets.length} more are not shown.`) : null;
    return element("section", { class: "group", "aria-label": formatCount(group.count, "picture") },
      element("div", { class: "cards" }, ...cards), more, element("div", { class: "actions" }, keep));
  }

  async #keepAll() {
    const count = this.#groups.reduce((sum, { assets }) => sum + assets.length - 1, 0);
    const details = this.changes.hasTrash ? "They stay in the trash for 30 days." : "";
    if (await confirmDialog(`Delete ${formatCount(count, "duplicate")}?`, "Delete", details)) await this.#keep(this.#groups);
  }

  /** @param {DuplicateGroup[]} groups */
  async #keep(groups) {
    await this.changes.keepBest(groups.flatMap(({ assets, best: id }) => {
      const best = assets.find((asset) => asset.id === id);
      return best ? [{ best, others: assets.filter((asset) => asset !== best) }] : [];
    }));
    await this.#load();
  }
}
