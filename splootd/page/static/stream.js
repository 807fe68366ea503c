/**
 * The one line to the daemon over which it tells what happens, for all tabs together: a browser gives a host six
 * connections, and a line for each tab would use them up.
 *
 * Nothing is polled. The status is asked for when there is news, and again while its rates still change by themselves.
 */

export const STATUS_MS = 500; // between two questions for the status
const RATES_MS = 1000;
const GATHER_MS = 100; // news of items travel together
const NEWS_MAX = 500; // more than these at once, and whoever looks reads again
const RETRY_MS = { first: 250, most: 4000 };

/**
 * @typedef {{item: number, state: import("./protocol.js").State, path: string, reason: string | null, at: string}} ItemNews
 *
 * What listeners are told: that there is a daemon, or none; that items have changed (null: unknown which); how far
 * transfers are; how everything stands.
 * @typedef {{kind: "online"} | {kind: "offline", sentence: string} | {kind: "items", news: ItemNews[] | null}
 *   | {kind: "transfers", transfers: import("./speeds.js").Moving[]}
 *   | {kind: "status", status: import("./protocol.js").Status}} Told
 *
 * @typedef {object} Source
 * @property {(name: string, hear: (event: MessageEvent) => void) => void} addEventListener
 * @property {() => void} close
 */

export class Stream {
  /** @type {number | null} the last event that was heard */
  #since = null;
  #delayMs = RETRY_MS.first;
  /** @type {ItemNews[] | null} */
  #news = [];
  #isGathering = false;
  #isAsking = false;
  #isWanted = false;
  /** @type {Told | null} */
  #line = null;
  /** @type {import("./protocol.js").Status | null} */
  #status = null;
  /** @type {import("./speeds.js").Moving[]} */
  #transfers = [];

  /**
   * @param {object} world
   * @param {(url: string) => Source} world.open an event source
   * @param {() => Promise<import("./protocol.js").Status>} world.status
   * @param {(told: Told) => void} world.tell
   * @param {(work: () => void, ms: number) => void} world.later
   */
  constructor({ open, status, tell, later }) {
    this.open = open;
    this.status = status;
    this.tell = tell;
    this.later = later;
  }

  /** How things stand, for a tab that has just come. */
  get present() {
    /** @type {Told[]} */
    const told = this.#line ? [this.#line] : [];
    if (this.#status) told.push({ kind: "status", status: this.#status });
    return [...told, /** @type {Told} */ ({ kind: "transfers", transfers: this.#transfers })];
  }

  /** Listen from now on, or from where the line broke. */
  start() {
    const source = this.open(this.#since === null ? "/v1/events" : `/v1/events?since=${this.#since}`);
    const hear = (/** @type {string} */ name, /** @type {(data: any) => void} */ what) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.#since = Number(event.lastEventId);
        what(JSON.parse(event.data));
      });
    hear("start", () => this.#online());
    hear("fresh", () => this.#online());
    hear("item", (news) => this.#gather(news));
    hear("lost", () => this.#gather(null));
    hear("transfers", ({ transfers }) => this.#moving(transfers));
    hear("status", () => this.#want());
    source.addEventListener("error", () => {
      source.close();
      void this.#broken();
    });
  }

  #online() {
    this.#delayMs = RETRY_MS.first;
    this.#say({ kind: "online" });
    this.#gather(null);
  }

  async #broken() {
    this.#moving([]);
    let sentence = "The daemon cannot be reached. This page goes on as soon as it runs again.";
    try {
      await this.status(); // a stream that is refused does not say why; this does
    } catch (error) {
      if (/** @type {any} */ (error)?.status === 401) sentence = "This browser is signed out of the daemon. To come in again: sploot ui";
    }
    this.#say({ kind: "offline", sentence });
    this.later(() => this.start(), this.#delayMs);
    this.#delayMs = Math.min(RETRY_MS.most, this.#delayMs * 2);
  }

  /** @param {Told} line */
  #say(line) {
    this.#line = line;
    this.tell(line);
  }

  /** @param {import("./speeds.js").Moving[]} transfers */
  #moving(transfers) {
    this.#transfers = transfers;
    this.tell({ kind: "transfers", transfers });
    this.#want();
  }

  /** @param {ItemNews | null} news */
  #gather(news) {
    if (news === null || this.#news === null || this.#news.length >= NEWS_MAX) this.#news = null;
    else this.#news.push(news);
    if (this.#isGathering) return;
    this.#isGathering = true;
    this.later(() => {
      this.#isGathering = false;
      const gathered = this.#news;
      this.#news = [];
      this.tell({ kind: "items", news: gathered });
      this.#want();
    }, GATHER_MS);
  }

  /** The status has changed. */
  #want() {
    this.#isWanted = true;
    if (!this.#isAsking) void this.#ask();
  }

  async #ask() {
    this.#isAsking = true;
    this.#isWanted = false;
    let pauseMs = STATUS_MS;
    try {
      const status = (this.#status = await this.status());
      this.tell({ kind: "status", status });
      if (status.items.uploading || status.rates.items_per_s || status.rates.bytes_per_s) {
        this.#isWanted = true;
        pauseMs = RATES_MS;
      }
    } catch {
      this.#isWanted = false; // the line breaks too, and says it
    }
    this.later(() => {
      this.#isAsking = false;
      if (this.#isWanted) void this.#ask();
    }, pauseMs);
  }
}
