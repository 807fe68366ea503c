/** Deletes pictures after a delay in which the user can undo it. */

import { errorText, send } from "../ui/client.js";
import { isolate } from "../ui/filename.js";
import { showToast } from "../ui/toast.js";

const UNDO_MS = 8000;

/** @typedef {import("./asset.js").Asset} Asset */

export class UndoableDelete {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} timers of pending deletions by asset id */
  #timers = new Map();

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onChange the set of hidden pictures changed
   * @param {(id: string) => void} handlers.onGone the library has deleted it
   */
  constructor(handlers) {
    this.handlers = handlers;
    // Timers do not fire in a closed tab, so pending deletions are sent now; keepalive lets the requests outlive it.
    addEventListener("pagehide", () => [...this.#timers.keys()].forEach((id) => void this.#deleteNow(id)));
  }

  /** @param {Asset} asset */
  isDeleted(asset) {
    return this.#timers.has(asset.id);
  }

  /**
   * Hide a picture now and delete it after UNDO_MS, unless the user clicks Undo.
   * @param {Asset} asset
   */
  delete(asset) {
    const { id, name } = asset;
    this.#timers.set(id, setTimeout(() => void this.#deleteNow(id), UNDO_MS));
    this.handlers.onChange();
    showToast(`Deleted ${isolate(name)}.`, { ms: UNDO_MS, undo: () => this.#cancel(id) });
  }

  /** @param {string} id */
  #cancel(id) {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.handlers.onChange();
  }

  /** @param {string} id */
  async #deleteNow(id) {
    clearTimeout(this.#timers.get(id));
    try {
      await send("DELETE", `/v1/library/${encodeURIComponent(id)}`, {}, { keepalive: true });
      this.handlers.onGone(id);
    } catch (error) {
      showToast(`The picture was not deleted. ${errorText(error)}`);
    }
    this.#cancel(id);
  }
}
