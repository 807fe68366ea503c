/** What the daemon tells, for the parts of one tab. */

import { get } from "./client.js";
import { Stream } from "./stream.js";

/** @typedef {import("./stream.js").Told} Told */
/** @typedef {"measure" | "rest" | "leave"} Wish what a tab says to the worker: begin with the numbers, end, or good-bye */

export class News {
  /** @type {(isWanted: boolean) => void} */
  #measure = () => {};
  #isMeasuring = false;
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

  /**
   * Whether this tab shows what is measured, and is to be told once a second.
   * @param {boolean} isWanted
   */
  measure(isWanted) {
    this.#isMeasuring = isWanted;
    this.#measure(isWanted);
  }

  open() {
    if ("SharedWorker" in globalThis) this.#share();
    else this.#alone();
  }

  #share() {
    const { port } = new SharedWorker("/static/stream-worker.js", { type: "module", name: "sploot" });
    const say = (/** @type {Wish} */ wish) => port.postMessage(wish);
    port.onmessage = (event) => this.#tell(event.data);
    this.#measure = (isWanted) => say(isWanted ? "measure" : "rest");
    addEventListener("pagehide", () => say("leave"), { once: true });
    if (this.#isMeasuring) say("measure");
    // A page that comes back out of the browser's memory has left; it joins again.
    addEventListener("pageshow", (event) => event.persisted && this.#share(), { once: true });
  }

  #alone() {
    const stream = new Stream({
      open: (url) => new EventSource(url),
      status: () => get("/v1/status"),
      tell: (told) => this.#tell(told),
      later: (work, ms) => void setTimeout(work, ms),
    });
    stream.start();
    this.#measure = (isWanted) => stream.measure(isWanted);
  }

  /** @param {Told} told */
  #tell(told) {
    if (told.kind !== "items" && told.kind !== "numbers") this.#present.set(told.kind === "offline" ? "online" : told.kind, told);
    this.#listeners.forEach((hear) => hear(told));
  }
}
