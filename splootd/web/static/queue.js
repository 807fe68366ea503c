/** The queue view: a filtered virtual list of items, and the actions on the selected ones. */

import { errorText, get } from "./client.js";
import { confirmDialog, descriptionList, openDialog } from "./dialog.js";
import { button, byId, element, setAttribute, setText, withCode } from "./dom.js";
import { baseName, escapeInvisible, isolate } from "./filename.js";
import { Filters } from "./filters.js";
import { formatCount, formatNumber, formatSize, stateLabel } from "./format.js";
import { applyAction, selectedIds } from "./item_actions.js";
import { FileListVirtual } from "./list.js";
import { NO_FILTER, PageLoader, totalOf } from "./page_loader.js";
import { showToast, withErrorToast } from "./toast.js";

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

/** Labels of what followed from an attempt. */
const ATTEMPT_LABELS = {
  retry: "Retry scheduled", snooze: "Postponed", discard: "Gave up", skip: "Skipped", file_missing: "File missing",
};

export class Queue {
  /** @type {import("./protocol.js").Status | null} */
  #status = null;
  #isVisible = false;

  /** @param {import("./event_hub.js").EventHub} hub */
  constructor(hub) {
    this.list = new FileListVirtual(byId("rows"), byId("rows-canvas"), {
      onViewChange: () => this.#onViewChange(),
      onSelectionChange: () => this.#onSelectionChange(),
      onOpen: (item) => void this.#explain(item),
    });
    this.loader = new PageLoader((query) => get("/v1/items", query), this.list.window, {
      isVisible: () => this.#isVisible,
      visibleRows: () => this.list.visibleRows,
      isFollowing: () => this.list.isFollowing,
      onLoad: (by) => this.#onLoad(by),
      onError: (error) => this.#isVisible && setText(byId("rows-message"), errorText(error)),
    });
    this.filters = new Filters((filter) => this.setFilter(filter));
    for (const action of /** @type {const} */ (["retry", "bump", "forget"])) {
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
      list.progress = new Map(event.transfers.map(({ path, sent, size }) => [path, size ? sent / size : 0]));
      list.refresh();
    } else if (event.kind === "items") {
      event.events?.forEach((each) => this.#updateRow(each));
      this.loader.onItemsChange();
    }
  }

  /**
   * Update a loaded row from its event, without waiting for the reload that brings its other fields.
   * @param {import("./stream.js").ItemEvent} event
   */
  #updateRow({ item, state, error_message }) {
    const { window } = this.list;
    const index = window.indexOf(item);
    const row = index === null ? null : window.row(index);
    if (row && row.state !== state) Object.assign(row, { state, error_message });
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
      setText(byId("rows-message"), isUnfiltered ? "The queue is empty." : noMatch);
      const hint = isUnfiltered ? "Drop images here, or watch a folder: `sploot add FOLDER`" : "";
      byId("rows-hint").replaceChildren(...withCode(hint));
      byId("rows-all").hidden = isUnfiltered;
    }
    this.loader.onViewChange();
  }

  #onSelectionChange() {
    const selected = this.list.selection.count(this.list.window.length);
    setAttribute(byId("selection"), "data-any", selected > 0);
    for (const action of Object.keys(ACTION_MESSAGES)) setAttribute(byId(action), "disabled", selected === 0);
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
      const details = "Removes it from the queue. The file on disk and the library do not change.";
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
    const explanation = /** @type {import("./protocol.js").Explanation | null} */ (
      await withErrorToast(get("/v1/why", { target: item.id })));
    if (!explanation) return;
    const { item: row, attempts } = explanation;
    const format = (/** @type {string} */ iso) =>
      new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    const attemptRows = attempts.map((each) => {
      const message = withCode(escapeInvisible(each.error_message));
      return element("li", {}, `${format(each.at)} · ${attemptLabel(each.action)}: `, ...message);
    });
    const actionButton = (/** @type {string} */ label, /** @type {ItemAction} */ action) =>
      button(label, () => {
        dialog.close();
        this.list.selection.selectOnly(row.id, this.list.window.indexOf(row.id) ?? 0);
        void this.apply(action);
      });
    const dialog = openDialog(
      isolate(baseName(row.path)),
      descriptionList([
        ["State", stateLabel(row.state) + (row.duplicate ? " (duplicate)" : "")],
        ["Error", row.error_message && escapeInvisible(row.error_message)],
        ["Next", escapeInvisible(explanation.next)],
        ["Path", isolate(row.path)],
        ["Size", formatSize(row.size)],
        ["Priority", row.priority],
        ["Added", format(row.added_at)],
        ["Changed", format(row.updated_at)],
        ["Version", explanation.versions > 1 ? `newest of ${explanation.versions}` : null],
        ["Tags", row.tags.map(escapeInvisible).join(", ")],
      ]),
      attemptRows.length ? element("ul", { class: "attempts" }, ...attemptRows) : null,
      element("div", { class: "actions" },
        ["failed", "missing", "skipped"].includes(row.state) ? actionButton("Retry", "retry") : null,
        row.state === "pending" ? actionButton("Bump", "bump") : null,
        ["pending", "failed"].includes(row.state) ? actionButton("Forget", "forget") : null,
        button("Close", () => dialog.close(), { class: "primary" })),
    );
  }
}

/** @param {string} action */
function attemptLabel(action) {
  return ATTEMPT_LABELS[/** @type {keyof typeof ATTEMPT_LABELS} */ (action)] ?? action;
}
