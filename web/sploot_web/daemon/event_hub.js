/** Distributes the events of the daemon's stream to the modules of one tab. */

import { get } from "../ui/client.js";
import { Stream } from "./stream.js";

/** @typedef {import("./stream.js").StreamEvent} StreamEvent */
/** @typedef {"enable_metrics" | "disable_metrics" | "disconnect"} TabCommand message from a tab to the shared worker */

export class EventHub {
  /** @type {(isEnabled: boolean) => void} */
  #applyMetricsEnabled = () => {};
  #isMetricsEnabled = false;
  /** @type {Set<(event: StreamEvent) => void>} */
  #subscribers = new Set();
  /** @type {Map<string, StreamEvent>} the last event of each kind that describes the current state */
  #latest = new Map();

  /**
   * Call `onEvent` for every event from now on, first with the current state.
   * @param {(event: StreamEvent) => void} onEvent
   */
  subscribe(onEvent) {
    this.#subscribers.add(onEvent);
    this.#latest.forEach((event) => onEvent(event));
  }

  /**
   * Turn the `metrics` events for this tab on or off.
   * @param {boolean} isEnabled
   */
  setMetricsEnabled(isEnabled) {
    this.#isMetricsEnabled = isEnabled;
    this.#applyMetricsEnabled(isEnabled);
  }

  connect() {
    if ("SharedWorker" in globalThis) this.#connectToWorker();
    else this.#connectDirectly(); // Chrome on Android has no SharedWorker
  }

  #connectToWorker() {
    const { port } = new SharedWorker("/static/daemon/stream_worker.js", { type: "module", name: "sploot" });
    const post = (/** @type {TabCommand} */ command) => port.postMessage(command);
    port.onmessage = (event) => this.#publish(event.data);
    this.#applyMetricsEnabled = (isEnabled) => post(isEnabled ? "enable_metrics" : "disable_metrics");
    // A worker is not notified when a tab closes its port, so the tab has to sign off.
    addEventListener("pagehide", () => post("disconnect"), { once: true });
    if (this.#isMetricsEnabled) post("enable_metrics");
    // A document restored from the back/forward cache has disconnected; connect it again.
    addEventListener("pageshow", (event) => event.persisted && this.#connectToWorker(), { once: true });
  }

  #connectDirectly() {
    const stream = new Stream({
      openSource: (url) => new EventSource(url),
      getStatus: () => get("/v1/status"),
      emit: (event) => this.#publish(event),
      setTimer: (work, ms) => void setTimeout(work, ms),
    });
    stream.start();
    this.#applyMetricsEnabled = (isEnabled) => stream.setMetricsEnabled(isEnabled);
  }

  /** @param {StreamEvent} event */
  #publish(event) {
    if (event.kind !== "items" && event.kind !== "metrics") {
      this.#latest.set(event.kind === "offline" ? "online" : event.kind, event); // "offline" replaces "online"
    }
    this.#subscribers.forEach((onEvent) => onEvent(event));
  }
}
