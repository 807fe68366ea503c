/** What the daemon tells, for the parts of one tab. */

import { get } from "./client.js";
import { Stream } from "./stream.js";

/** @typedef {import("./stream.js").Told} Told */

export class News {
  /** @type {Set<(told: Told) => void>} */
  #listeners = new Set();
  /** @type {Map<string, Told>} the last of each kind that describes how things stand */
  #present = new Map();

  /**
   * From now on, and first how things stand.
   * @param {(told: Told) => void} hear
   */
  listen(hear) {
    this.#listeners.add(hear);
    this.#present.forEach((told) => hear(told));
  }

  open() {
    if ("SharedWorker" in globalThis) this.#share();
    else this.#alone();
  }

  #share() {
    const { port } = new SharedWorker("/static/stream-worker.js", { type: "module", name: "sploot" });
    port.onmessage = (event) => this.#tell(event.data);
    addEventListener("pagehide", () => port.postMessage("leave"));
    // A page that comes back out of the browser's memory has left; it joins again.
    addEventListener("pageshow", (event) => event.persisted && this.#share(), { once: true });
  }

  #alone() {
    new Stream({
      open: (url) => new EventSource(url),
      status: () => get("/v1/status"),
      tell: (told) => this.#tell(told),
      later: (work, ms) => void setTimeout(work, ms),
    }).start();
  }

  /** @param {Told} told */
  #tell(told) {
    if (told.kind !== "items") this.#present.set(told.kind === "offline" ? "online" : told.kind, told);
    this.#listeners.forEach((hear) => hear(told));
  }
}
