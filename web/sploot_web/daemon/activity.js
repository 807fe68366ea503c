/** The activity view: a filtered virtual list of items, and the actions on the selected ones. */

import { errorText, get } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { byId, setAttribute, setText } from "../ui/dom.js";
import { baseName, isolate } from "../ui/filename.js";
import { Filters } from "./filters.js";
import { formatCount, formatNumber } from "../ui/format.js";
import { applyAction, possibleActions, selectedIds } from "./item_actions.js";
import { openExplanation } from "./explanation.js";
import { FileListVirtual } from "./list.js";
import { TransferRates } from "./transfer_rates.js";
import { NO_FILTER, PageLoader, totalOf } from "./page_loader.js";
import { showToast, withErrorToast } from "../ui/toast.js";

const ITEM_ACTIONS = /** @type {const} */ (["retry", "bump", "forget"]);

/** @typedef {import("./item_actions.js").ItemAction} ItemAction */
/** @typedef {import("./page_loader.js").ItemFilter} ItemFilter */
/** @typedef {import("./page_loader.js").RowItem} RowItem */

const PROGRESS_ITEMS_MIN = 1000; // an action on more items than this reports its progress

/** Messages after an action: for the items that changed, or that none could change. */
const ACTION_MESSAGES = {
  retry: { done: "moved back to the queue", none: "only failed, missing and forgotten files can be retried" },
  bump: { done: "moved to the front of the queue", none: "only waiting files can be moved to the front" },
  forget: { done: "removed from the queue", none: "the file is no longer in the queue" },
};

export class Activity {
  /** @type {import("./protocol.js").Status | null} */
  #status = null;
  #isVisible = false;
  #rates = new TransferRates();

  /** @param {import("./event_hub.js").EventHub} hub */
  constructor(hub) {
    this.list = new FileListVirtual(byId("rows"), byId("rows-canvas"), {
      onViewChange: () => this.#onViewChange(),
      onSelectionChange: () => this.#onSelectionChange(),
      onOpen: (item) => void this.#explain(item),
      onPicture: (item) => item.asset_id && openPicture(item.asset_id),
    });
    this.loader = new PageLoader((query) => get("/v1/items", query), this.list.window, {
      isVisible: () => this.#isVisible,
      visibleRows: () => this.list.visibleRows,
      isFollowing: () => this.list.isFollowing,
      onLoad: (by) => this.#onLoad(by),
      onError: (error) => this.#isVisible && setText(byId("rows-message"), errorText(error)),
    });
    this.filters = new Filters((filter) => this.setFilter(filter));
    for (const action of ITEM_ACTIONS) {
      byId(action).addEventListener("click", () => void this.apply(action));
    }
    byId("rows-all").addEventListener("click", () => {
      this.setFilter(NO_FILTER);
      this.list.view.focus();
    });
    byId("select-none").addEventListener("click", () => {
      this.list.selectNone();
      this.list.view.focus();
    });
    hub.subscribe((event) => this.#onEvent(event));
  }

  show() {
    this.#isVisible = true;
    this.list.scroller.onResize();
    this.loader.onViewChange();
  }

  hide() {
    this.#isVisible = false;
  }

  /** @param {import("./event_hub.js").StreamEvent} event */
  #onEvent(event) {
    const { list } = this;
    if (event.kind === "status") {
      this.#status = event.status;
      this.filters.onStatus(event.status);
      list.onRowsChange(list.window.setTotal(totalOf(this.loader.filter, event.status)));
      this.#onViewChange();
    } else if (event.kind === "transfers") {
      list.transfers = new Map(this.#rates.update(event.transfers, performance.now()).map((each) => [each.path, each]));
      list.refresh();
    } else if (event.kind === "items") {
      const isComplete = event.events?.map((each) => this.#updateRow(each)).every(Boolean);
      if (!isComplete || this.loader.filter.state) this.loader.onItemsChange();
      else list.refresh();
      this.#onSelectionChange();
    }
  }

  /**
   * Update a row from its event. Return false if the loaded rows lack an item that belongs between them.
   * @param {import("./stream.js").ItemEvent} event
   */
  #updateRow({ item, at, state, path, priority, size, error_message }) {
    const { window } = this.list;
    const index = window.indexOf(item);
    const row = index === null ? null : window.row(index);
    if (row) Object.assign(row, { state, path, priority, size, error_message, updated_at: at });
    const isEnded = !["pending", "uploading"].includes(state); // an event has no picture and no remedy: load the row
    return row !== null ? !isEnded : !window.covers(item);
  }

  /** @param {ItemFilter} filter */
  setFilter(filter) {
    this.list.reset(this.#status ? totalOf(filter, this.#status) : null);
    this.loader.setFilter(filter);
    this.filters.show(filter);
    this.#onViewChange();
  }

  /** @param {number} by */
  #onLoad(by) {
    this.list.onRowsChange(by);
    this.#onViewChange();
    this.#onSelectionChange(); // what can be done depends on the states of the selected items
  }

  /** Display the number of items, and load the rows that the view lacks. */
  #onViewChange() {
    if (!this.loader) return; // called from the constructor of the list
    const { window } = this.list;
    const { filter } = this.loader;
    const isLoaded = window.rows.length > 0 || window.isNewest;
    const more = filter.text && !window.isOldest ? "+" : "";
    // The number in the filter bar, even where the loaded rows are ahead of it by a moment: two numbers would differ.
    const total = (this.#status && totalOf(filter, this.#status)) ?? window.length;
    const count = `${formatNumber(total)}${more} ${total === 1 ? "item" : "items"}`;
    setText(byId("rows-count"), isLoaded ? count : "Loading ...");
    const isEmpty = isLoaded && window.length === 0;
    const isUnfiltered = filter === NO_FILTER || !Object.values(filter).some(Boolean);
    byId("rows-empty").hidden = !isEmpty;
    if (isEmpty) {
      const noMatch = filter.text ? `No files match '${filter.text}'.` : "No files match.";
      setText(byId("rows-message"), isUnfiltered ? "Nothing has been added yet." : noMatch);
      const hint = isUnfiltered ? "Drop images here, or watch a folder in the settings." : "";
      setText(byId("rows-hint"), hint);
      byId("rows-all").hidden = isUnfiltered;
    }
    this.loader.onViewChange();
  }

  #onSelectionChange() {
    const { selection, window } = this.list;
    const selected = selection.count(window.length);
    const possible = possibleActions(window.rows.filter(({ id }) => selection.has(id)), selected);
    setAttribute(byId("selection"), "data-any", selected > 0);
    for (const action of ITEM_ACTIONS) setAttribute(byId(action), "disabled", !possible.has(action));
    setText(byId("selected-count"), selected ? `${formatNumber(selected)} selected` : "");
    byId("select-none").hidden = selected === 0;
  }

  /**
   * Apply an action to the selected items, or to the row with the keyboard cursor if none are selected.
   * @param {ItemAction} action
   */
  async apply(action) {
    const { list } = this;
    if (list.selection.isEmpty && list.current) list.selection.selectOnly(list.current.id, list.cursor);
    const selected = list.selection.count(list.window.length);
    if (selected === 0) return;
    if (action === "forget") {
      const single = selected === 1 ? list.current : null;
      const name = single ? isolate(baseName(single.path)) : formatCount(selected, "file");
      const details = "It is removed from this list. The file on disk and the library do not change.";
      if (!(await confirmDialog(`Forget ${name}?`, "Forget", details))) return;
    }
    const pages = selectedIds(list.selection, this.loader.filter);
    const onProgress = (/** @type {number} */ count) =>
      selected > PROGRESS_ITEMS_MIN && showToast(`${formatNumber(count)} done ...`);
    const changed = await withErrorToast(applyAction(action, pages, onProgress));
    if (changed === null) return;
    const { done, none } = ACTION_MESSAGES[action];
    showToast(changed ? `${formatCount(changed, "file")} ${done}.` : `Nothing to do: ${none}.`);
    const isFocusLost = document.activeElement === byId(action); // the button is disabled next, which drops the focus
    list.selectNone();
    if (isFocusLost) list.view.focus();
  }

  /** @param {RowItem} item */
  async #explain(item) {
    await openExplanation(item.id, {
      onAction: (action) => {
        this.list.selection.selectOnly(item.id, this.list.window.indexOf(item.id) ?? 0);
        void this.apply(action);
      },
      onPicture: openPicture,
    });
  }
}

/**
 * Show a picture of the library in its viewer.
 * @param {string} assetId
 */
function openPicture(assetId) {
  location.hash = `library?i=${encodeURIComponent(assetId)}`;
}
