/**
 * The one line to the daemon over which it tells what happens, for all tabs together: a browser gives a host six
 * connections, and a line for each tab would use them up.
 *
 * Nothing is polled: the daemon sends how everything stands as it changes, and what it measures while somebody looks.
 */

const GATHER_MS = 100; // news of items travel together
const NEWS_MAX = 500; // more than these at once, and whoever looks reads again
const RETRY_MS = { first: 250, most: 4000 };

/**
 * @typedef {{item: number, state: import("./protocol.js").State, path: string, reason: string | null, at: string}} ItemNews
 *
 * What listeners are told: that there is a daemon, or none; that items have changed (null: unknown which); how far
 * transfers are; how everything stands; once a second what is measured, while that is wanted.
 * @typedef {{kind: "online"} | {kind: "offline", sentence: string} | {kind: "items", news: ItemNews[] | null}
 *   | {kind: "transfers", transfers: import("./speeds.js").Moving[]}
 *   | {kind: "status", status: import("./protocol.js").Status}
 *   | {kind: "numbers", numbers: import("./protocol.js").Numbers}} Told
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
  #isMeasuring = false;
  #isTakenUp = false; // where it was left: nothing can have been missed
  /** @type {Source | null} */
  #source = null;
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

  /**
   * Whether what is measured is wanted too: the line is taken up again where it was, with it or without.
   * @param {boolean} isWanted
   */
  measure(isWanted) {
    if (isWanted === this.#isMeasuring) return;
    this.#isMeasuring = isWanted;
    if (!this.#source) return; // the line is broken; the next one will be as it is wanted
    this.#source.close();
    this.#isTakenUp = this.#since !== null;
    this.start();
  }

  /** Listen from now on, or from where the line broke. */
  start() {
    const since = this.#since === null ? "" : `&since=${this.#since}`;
    const source = (this.#source = this.open(`/v1/events?now=true${this.#isMeasuring ? "&numbers=true" : ""}${since}`));
    const hear = (/** @type {string} */ name, /** @type {(data: any) => void} */ what) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.#since = Number(event.lastEventId);
        what(JSON.parse(event.data));
      });
    hear("start", () => this.#online(true));
    hear("fresh", () => this.#online(false));
    hear("item", (news) => this.#gather(news));
    hear("lost", () => this.#gather(null));
    hear("transfers", ({ transfers }) => this.#moving(transfers));
    hear("now", (status) => this.#stands(status));
    hear("status", (standing) => this.#status && this.#stands(stood(this.#status, standing)));
    hear("numbers", (numbers) => this.tell({ kind: "numbers", numbers }));
    source.addEventListener("error", () => {
      source.close();
      if (source === this.#source) void this.#broken();
    });
  }

  /** @param {boolean} isWhole nothing between the last event and the next is lost */
  #online(isWhole) {
    this.#delayMs = RETRY_MS.first;
    this.#say({ kind: "online" });
    if (!this.#isTakenUp || !isWhole) this.#gather(null);
    this.#isTakenUp = false;
  }

  async #broken() {
    this.#source = null;
    this.#isTakenUp = false;
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
  }

  /** @param {import("./protocol.js").Status} status */
  #stands(status) {
    this.#status = status;
    this.tell({ kind: "status", status });
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
    }, GATHER_MS);
  }
}

/**
 * A status with what is told at once of daemon and server; the whole of it follows.
 * @param {import("./protocol.js").Status} status
 * @param {{daemon: string, server: string, breaker: string, push: string}} standing
 */
function stood(status, { daemon, server, breaker, push }) {
  return {
    ...status,
    daemon: { ...status.daemon, state: daemon },
    server: { ...status.server, state: server, breaker, push },
  };
}
