/** Keeps a window filled: what is looked at is read at once, what has changed is read again at its own pace. */

/** @typedef {import("./listwindow.js").Ask} Ask */
/** @typedef {import("./protocol.js").ItemRow} ItemRow */
/** @typedef {import("./protocol.js").Items} Items */
/** @typedef {import("./protocol.js").Status} Status */

const AGAIN_MS = 250; // between two readings of what has changed
const READING_SHARE = 0.25; // of the time may go into them

/**
 * Which items are shown.
 * @typedef {{state: import("./protocol.js").State | null, folder: string | null, text: string | null}} Choice
 */

/** @type {Choice} */
export const EVERYTHING = Object.freeze({ state: null, folder: null, text: null });

/**
 * How many items there are, null where nobody keeps count of that.
 * @param {Choice} choice
 * @param {Status} now
 */
export function totalOf(choice, now) {
  if (choice.text !== null || (choice.state && choice.folder)) return null;
  if (choice.folder !== null) return now.folders.find((folder) => folder.path === choice.folder)?.items ?? null;
  return now.items[choice.state ?? "total"];
}

/**
 * What is held of an item while it is in the window: what a row shows, and no more.
 * @typedef {Pick<ItemRow, "id" | "path" | "state" | "priority" | "size" | "updated_at" | "reason">} Shown
 */

/**
 * @param {ItemRow} row
 * @returns {Shown}
 */
export function shown({ id, path, state, priority, size, updated_at, reason }) {
  return { id, path, state, priority, size, updated_at, reason };
}

/**
 * Whoever looks at the rows: whether now, at which, whether the newest are wanted, what to do when they have moved or
 * cannot be read.
 * @typedef {object} View
 * @property {() => boolean} isShown
 * @property {() => {top: number, height: number}} lookedAt
 * @property {() => boolean} isFollowing
 * @property {(by: number) => void} moved
 * @property {(error: unknown) => void} failed
 */

/** @typedef {{now: () => number, later: (work: () => void, ms: number) => void}} Clock */

/** @type {Clock} */
const CLOCK = { now: () => performance.now(), later: (work, ms) => void setTimeout(work, ms) };

/** Reads the rows of `window` that `view` looks at. */
export class Feed {
  choice = EVERYTHING;
  #isStale = false;
  #isReading = false;
  #againAt = 0;

  /**
   * @param {(wanted: Record<string, string | number | null>) => Promise<Items>} ask
   * @param {import("./listwindow.js").ListWindow<Shown>} window
   * @param {View} view
   * @param {Clock} [clock]
   */
  constructor(ask, window, view, clock = CLOCK) {
    this.ask = ask;
    this.window = window;
    this.view = view;
    this.clock = clock;
  }

  /** The view has moved. */
  look() {
    void this.#run();
  }

  /**
   * Others are wanted. The window has been cleared.
   * @param {Choice} choice
   */
  choose(choice) {
    this.choice = choice;
    void this.#run();
  }

  /** Items have changed. */
  changed() {
    this.#isStale = true;
    void this.#run();
  }

  async #run() {
    if (this.#isReading || !this.view.isShown()) return;
    this.#isReading = true;
    try {
      for (let ask = this.#next(); ask !== null; ask = this.#next()) await this.#read(ask);
    } catch (error) {
      this.view.failed(error);
    } finally {
      this.#isReading = false;
    }
  }

  #next() {
    const { top, height } = this.view.lookedAt();
    const lacking = this.window.lacking(top, height);
    if (lacking !== null || !this.#isStale) return lacking;
    const waitMs = this.#againAt - this.clock.now();
    if (waitMs > 0) {
      this.clock.later(() => this.look(), waitMs);
      return null;
    }
    this.#isStale = false;
    return this.window.again(this.view.isFollowing(), height);
  }

  /** @param {Ask} ask */
  async #read(ask) {
    const { choice } = this;
    const beganAt = this.clock.now();
    const { rows, isComplete } = await this.#rows(ask, choice);
    if (choice !== this.choice) return;
    const tookMs = this.clock.now() - beganAt;
    this.#againAt = this.clock.now() + Math.max(AGAIN_MS, tookMs / READING_SHARE);
    this.view.moved(this.window.take(ask, rows, isComplete));
  }

  /**
   * The rows of a page, and whether the list ends there. One that is searched comes in several replies.
   * @param {Ask} ask
   * @param {Choice} choice
   */
  async #rows(ask, choice) {
    const isUpwards = ask.after !== null;
    /** @type {Shown[]} */
    let rows = [];
    let { before, after } = ask;
    while (choice === this.choice) {
      const reply = await this.ask({ ...choice, before, after, limit: ask.limit - rows.length });
      const found = reply.items.map(shown);
      rows = isUpwards ? [...found, ...rows] : [...rows, ...found];
      const cursor = isUpwards ? reply.after : reply.before;
      if (cursor === null || rows.length >= ask.limit) return { rows, isComplete: cursor === null };
      if (isUpwards) after = cursor;
      else before = cursor;
    }
    return { rows, isComplete: false };
  }
}
