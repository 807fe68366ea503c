/** Loads the rows of a list window: missing rows immediately, changed rows at a limited rate. */

/** @typedef {import("./list_window.js").PageRequest} PageRequest */
/** @typedef {import("./protocol.js").ItemRow} ItemRow */
/** @typedef {import("./protocol.js").Items} Items */
/** @typedef {import("./protocol.js").Status} Status */

const RELOAD_MS = 250; // between two reloads of changed rows
const RELOAD_TIME_SHARE = 0.25; // the share of the time that reloads may take

/**
 * Which items are listed.
 * @typedef {{state: import("../ui/states.js").State | null, folder: string | null, text: string | null}} ItemFilter
 */

/** @type {ItemFilter} */
export const NO_FILTER = Object.freeze({ state: null, folder: null, text: null });

/**
 * Return the number of items that `filter` matches, null if the status does not include it.
 * @param {ItemFilter} filter
 * @param {Status} status
 */
export function totalOf(filter, status) {
  if (filter.text !== null || (filter.state && filter.folder)) return null;
  if (filter.folder !== null) return status.folders.find((folder) => folder.path === filter.folder)?.items ?? null;
  return status.items[filter.state ?? "total"];
}

/**
 * The fields of an item that a row displays or decides by; the others are not kept in memory.
 * @typedef {Pick<ItemRow, "id" | "path" | "state" | "priority" | "size" | "updated_at" | "error_message" | "asset_id"
 *   | "can_retry">} RowItem
 */

/**
 * @param {ItemRow} row
 * @returns {RowItem}
 */
export function toRowItem({ id, path, state, priority, size, updated_at, error_message, asset_id, can_retry }) {
  return { id, path, state, priority, size, updated_at, error_message, asset_id, can_retry };
}

/**
 * The view that displays the rows: `onLoad` receives the difference between the indices requested and loaded.
 * @typedef {object} View
 * @property {() => boolean} isVisible
 * @property {() => {top: number, height: number}} visibleRows
 * @property {() => boolean} isFollowing true if the newest rows are displayed
 * @property {(by: number) => void} onLoad
 * @property {(error: unknown) => void} onError
 */

/** @typedef {{now: () => number, setTimer: (work: () => void, ms: number) => void}} Clock */

/** @type {Clock} */
const CLOCK = { now: () => performance.now(), setTimer: (work, ms) => void setTimeout(work, ms) };

export class PageLoader {
  filter = NO_FILTER;
  #isStale = false;
  #isLoading = false;
  #reloadAt = 0;

  /**
   * @param {(query: Record<string, string | number | null>) => Promise<Items>} getItems
   * @param {import("./list_window.js").ListWindow<RowItem>} window
   * @param {View} view
   * @param {Clock} [clock]
   */
  constructor(getItems, window, view, clock = CLOCK) {
    this.getItems = getItems;
    this.window = window;
    this.view = view;
    this.clock = clock;
  }

  /** Load what the view lacks after it moved. */
  onViewChange() {
    void this.#run();
  }

  /**
   * Load another list. The caller has cleared the window.
   * @param {ItemFilter} filter
   */
  setFilter(filter) {
    this.filter = filter;
    void this.#run();
  }

  /** Reload the rows after items changed. */
  onItemsChange() {
    this.#isStale = true;
    void this.#run();
  }

  async #run() {
    if (this.#isLoading || !this.view.isVisible()) return;
    this.#isLoading = true;
    try {
      for (let request = this.#nextRequest(); request !== null; request = this.#nextRequest()) {
        await this.#load(request);
      }
    } catch (error) {
      this.view.onError(error);
    } finally {
      this.#isLoading = false;
    }
  }

  #nextRequest() {
    const { top, height } = this.view.visibleRows();
    const missing = this.window.missingPage(top, height);
    if (missing !== null || !this.#isStale) return missing;
    const waitMs = this.#reloadAt - this.clock.now();
    if (waitMs > 0) {
      this.clock.setTimer(() => this.onViewChange(), waitMs);
      return null;
    }
    this.#isStale = false;
    return this.window.reloadPage(this.view.isFollowing(), height);
  }

  /** @param {PageRequest} request */
  async #load(request) {
    const { filter } = this;
    const startedAt = this.clock.now();
    const { rows, isComplete } = await this.#fetchRows(request, filter);
    if (filter !== this.filter) return; // the user changed the filter meanwhile: these rows belong to another list
    const tookMs = this.clock.now() - startedAt;
    this.#reloadAt = this.clock.now() + Math.max(RELOAD_MS, tookMs / RELOAD_TIME_SHARE);
    this.view.onLoad(this.window.replace(request, rows, isComplete));
  }

  /**
   * Fetch the rows of a page. A search for text may take several requests: the daemon ends each one after a limited
   * number of rows searched, and returns a cursor even if it found too few.
   * @param {PageRequest} request
   * @param {ItemFilter} filter
   */
  async #fetchRows(request, filter) {
    const isUpwards = request.after !== null;
    /** @type {RowItem[]} */
    let rows = [];
    let { before, after } = request;
    while (filter === this.filter) {
      const reply = await this.getItems({ ...filter, before, after, limit: request.limit - rows.length });
      const found = reply.items.map(toRowItem);
      rows = isUpwards ? [...found, ...rows] : [...rows, ...found];
      const cursor = isUpwards ? reply.after : reply.before;
      if (cursor === null || rows.length >= request.limit) return { rows, isComplete: cursor === null };
      if (isUpwards) after = cursor;
      else before = cursor;
    }
    return { rows, isComplete: false };
  }
}
