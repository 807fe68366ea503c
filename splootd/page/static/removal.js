/** Pictures that are being deleted: there is a while to think better of it before the library is told. */

import { change, sentenceOf } from "./client.js";
import { isolated } from "./names.js";
import { say } from "./say.js";

const UNDO_MS = 8000;

/** @typedef {import("./asset.js").Asset} Asset */

export class Removal {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #waiting = new Map();

  /** @param {() => void} changed what is hidden is another */
  constructor(changed) {
    this.changed = changed;
    addEventListener("pagehide", () => [...this.#waiting.keys()].forEach((id) => void this.#send(id)));
  }

  /** @param {Asset} asset */
  isRemoved(asset) {
    return this.#waiting.has(asset.id);
  }

  /** @param {Asset} asset */
  remove(asset) {
    const { id, name } = asset;
    this.#waiting.set(id, setTimeout(() => void this.#send(id), UNDO_MS));
    this.changed();
    say(`${isolated(name)} is deleted.`, { ms: UNDO_MS, undo: () => this.#undo(id) });
  }

  /** @param {string} id */
  #undo(id) {
    clearTimeout(this.#waiting.get(id));
    this.#waiting.delete(id);
    this.changed();
  }

  /** @param {string} id */
  async #send(id) {
    clearTimeout(this.#waiting.get(id));
    try {
      await change("DELETE", `/v1/library/${encodeURIComponent(id)}`, {}, { keepalive: true });
    } catch (error) {
      say(`It was not deleted. ${sentenceOf(error)}`);
    }
    this.#undo(id);
  }
}
