/** The trash: deleted pictures, which can be restored for 30 days. */

import { createCard, openPage } from "./page_dialog.js";
import { errorText, get } from "../ui/client.js";
import { button, element, setAttribute, setText } from "../ui/dom.js";
import { formatCount } from "../ui/format.js";

export const TRASH_DAYS = 30;
const DAY_MS = 24 * 3600 * 1000;
const PAGE_ROWS = 120;

/** @typedef {import("./asset.js").Asset} Asset */

/**
 * Return how long a deleted picture can still be restored.
 * @param {string | null} deletedAt
 * @param {Date} [now]
 */
export function daysLeft(deletedAt, now = new Date()) {
  const left = deletedAt ? Date.parse(deletedAt) + TRASH_DAYS * DAY_MS - now.getTime() : TRASH_DAYS * DAY_MS;
  const days = Math.max(0, Math.ceil(left / DAY_MS));
  return days ? `${formatCount(days, "day")} left` : "leaves today";
}

export class Trash {
  /** @type {Map<string, Asset>} */
  #selected = new Map();
  /** @type {Asset[]} */
  #assets = [];
  #message = element("p", { class: "dim", role: "status" });
  #grid = element("div", { class: "cards" });
  #restore = button("Restore", () => void this.#change("restore"), { class: "primary" });
  #purge = button("Delete for good", () => void this.#change("purge"), { class: "danger" });
  #more = button("Show more", () => void this.#load(this.#assets.length), { hidden: true });

  /** @param {import("./asset_changes.js").AssetChanges} changes */
  constructor(changes) {
    this.changes = changes;
    openPage("Trash",
      element("div", { class: "bar" }, this.#message, element("span", { class: "space" }), this.#restore, this.#purge),
      element("div", { class: "page-body" }, this.#grid, this.#more));
    void this.#load(0);
  }

  /** The selected pictures, or all that are shown if none is selected. */
  get #chosen() {
    return this.#selected.size ? [...this.#selected.values()] : this.#assets;
  }

  /** @param {number} offset */
  async #load(offset) {
    try {
      /** @type {import("./asset.js").AssetPage} */
      const page = await get("/v1/library", { trash: true, limit: PAGE_ROWS, offset });
      if (!offset) this.#assets = [];
      this.#assets.push(...page.assets);
      this.#more.hidden = !page.has_more;
      const cards = page.assets.map((asset) => {
        const card = createCard(asset, daysLeft(asset.deleted_at), () => this.#toggle(asset, card));
        return card;
      });
      if (offset) this.#grid.append(...cards);
      else this.#grid.replaceChildren(...cards);
      this.#update();
    } catch (error) {
      setText(this.#message, errorText(error));
    }
  }

  /**
   * @param {Asset} asset
   * @param {HTMLElement} card
   */
  #toggle(asset, card) {
    if (!this.#selected.delete(asset.id)) this.#selected.set(asset.id, asset);
    setAttribute(card, "aria-pressed", String(this.#selected.has(asset.id)));
    this.#update();
  }

  #update() {
    const { length } = this.#assets;
    setText(this.#message, length
      ? `Deleted pictures stay here for ${TRASH_DAYS} days. Click those that you want.`
      : "The trash is empty.");
    const which = this.#selected.size ? ` ${this.#selected.size}` : " all";
    setText(this.#restore, `Restore${which}`);
    setText(this.#purge, `Delete${which} for good`);
    this.#restore.hidden = this.#purge.hidden = !length;
  }

  /** @param {"restore" | "purge"} action */
  async #change(action) {
    await this.changes[action](this.#chosen);
    this.#selected.clear();
    await this.#load(0);
  }
}
