/**
 * Client of the daemon's event stream. One stream serves all tabs: a browser opens at most six connections to a host,
 * and a stream for each tab would use them up.
 *
 * Nothing is polled: the daemon pushes the status when it changes, and metrics while a tab displays them.
 */

const BATCH_MS = 100; // item events are delivered in batches
const BATCH_EVENTS_MAX = 500; // a larger batch is replaced by null: read the list again
const RETRY_MS = { min: 250, max: 4000 };

/**
 * @typedef {import("../ui/states.js").State} State
 * @typedef {{item: number, state: State, path: string, priority: string, size: number, error_message: string | null,
 *   at: string}} ItemEvent
 *
 * An event for subscribers: the connection to the daemon is up or down; items changed (null: unknown which); progress
 * of the transfers; the status; once a second the metrics while they are enabled.
 * @typedef {{kind: "online"} | {kind: "offline", message: string} | {kind: "items", events: ItemEvent[] | null}
 *   | {kind: "transfers", transfers: import("./transfer_rates.js").Progress[]}
 *   | {kind: "status", status: import("./protocol.js").Status}
 *   | {kind: "metrics", metrics: import("./protocol.js").Metrics}} StreamEvent
 *
 * @typedef {object} Source what the stream uses of an EventSource
 * @property {(name: string, listener: (event: MessageEvent) => void) => void} addEventListener
 * @property {() => void} close
 */

export class Stream {
  /** @type {number | null} id of the last event received */
  #lastEventId = null;
  #retryMs = RETRY_MS.min;
  /** @type {ItemEvent[] | null} */
  #batch = [];
  #isFlushScheduled = false;
  #isMetricsEnabled = false;
  #isResuming = false; // continues at the last event, so no event can have been missed
  /** @type {Source | null} */
  #source = null;
  /** @type {StreamEvent | null} the last "online" or "offline" */
  #connection = null;
  /** @type {import("./protocol.js").Status | null} */
  #status = null;
  /** @type {import("./transfer_rates.js").Progress[]} */
  #transfers = [];

  /**
   * @param {object} environment
   * @param {(url: string) => Source} environment.openSource
   * @param {() => Promise<import("./protocol.js").Status>} environment.getStatus
   * @param {(event: StreamEvent) => void} environment.emit
   * @param {(work: () => void, ms: number) => void} environment.setTimer
   */
  constructor({ openSource, getStatus, emit, setTimer }) {
    this.openSource = openSource;
    this.getStatus = getStatus;
    this.emit = emit;
    this.setTimer = setTimer;
  }

  /** The events that bring a new tab up to date. */
  get snapshot() {
    /** @type {StreamEvent[]} */
    const events = this.#connection ? [this.#connection] : [];
    if (this.#status) events.push({ kind: "status", status: this.#status });
    return [...events, /** @type {StreamEvent} */ ({ kind: "transfers", transfers: this.#transfers })];
  }

  /**
   * Turn the `metrics` events on or off. The stream reconnects at its last event, because the daemon decides by the
   * URL what it sends.
   * @param {boolean} isEnabled
   */
  setMetricsEnabled(isEnabled) {
    if (isEnabled === this.#isMetricsEnabled) return;
    this.#isMetricsEnabled = isEnabled;
    if (!this.#source) return; // disconnected: the next connection applies it
    this.#source.close();
    this.#isResuming = this.#lastEventId !== null;
    this.start();
  }

  /**
   * Connect, and resume after the last event received.
   *
   * EventSource reconnects automatically, but with the old URL, without backoff, and not after an HTTP error
   * status; so every error closes it and `#onDisconnect` opens a new one.
   */
  start() {
    const since = this.#lastEventId === null ? "" : `&since=${this.#lastEventId}`;
    const url = `/v1/events?status=true${this.#isMetricsEnabled ? "&metrics=true" : ""}${since}`;
    const source = (this.#source = this.openSource(url));
    const on = (/** @type {string} */ name, /** @type {(data: any) => void} */ listener) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.#lastEventId = Number(event.lastEventId);
        listener(JSON.parse(event.data));
      });
    on("start", () => this.#onConnect({ isGapless: true }));
    on("reset", () => this.#onConnect({ isGapless: false }));
    on("item", (event) => this.#addToBatch(event));
    on("dropped", () => this.#addToBatch(null));
    on("transfers", ({ transfers }) => this.#setTransfers(transfers));
    on("status", (status) => this.#setStatus(status));
    on("metrics", (metrics) => this.emit({ kind: "metrics", metrics }));
    source.addEventListener("error", () => {
      source.close();
      if (source === this.#source) void this.#onDisconnect(); // not the late error of a source already replaced
    });
  }

  /** @param {{isGapless: boolean}} how true if the daemon still had all events since the last one received */
  #onConnect({ isGapless }) {
    this.#retryMs = RETRY_MS.min;
    this.#setConnection({ kind: "online" });
    if (!this.#isResuming || !isGapless) this.#addToBatch(null);
    this.#isResuming = false;
  }

  async #onDisconnect() {
    this.#source = null;
    this.#isResuming = false;
    this.#setTransfers([]);
    let message = "The daemon cannot be reached. Run `sploot daemon start` in a terminal; this page then reconnects.";
    try {
      await this.getStatus(); // EventSource does not expose the HTTP status of an error; this request does
    } catch (error) {
      if (/** @type {any} */ (error)?.status === 401) {
        message = "This browser is signed out. To sign in again, run `sploot ui` in a terminal.";
      }
    }
    this.#setConnection({ kind: "offline", message });
    this.setTimer(() => this.start(), this.#retryMs);
    this.#retryMs = Math.min(RETRY_MS.max, this.#retryMs * 2);
  }

  /** @param {StreamEvent} connection */
  #setConnection(connection) {
    this.#connection = connection;
    this.emit(connection);
  }

  /** @param {import("./transfer_rates.js").Progress[]} transfers */
  #setTransfers(transfers) {
    this.#transfers = transfers;
    this.emit({ kind: "transfers", transfers });
  }

  /** @param {import("./protocol.js").Status} status */
  #setStatus(status) {
    this.#status = status;
    this.emit({ kind: "status", status });
  }

  /** @param {ItemEvent | null} event */
  #addToBatch(event) {
    if (event === null || this.#batch === null || this.#batch.length >= BATCH_EVENTS_MAX) this.#batch = null;
    else this.#batch.push(event);
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.setTimer(() => {
      this.#isFlushScheduled = false;
      const events = this.#batch;
      this.#batch = [];
      this.emit({ kind: "items", events });
    }, BATCH_MS);
  }
}
