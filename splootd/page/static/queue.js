/** The queue: all items in a virtual list, filtered, chosen, changed. */

import { changed, pagesOf } from "./changes.js";
import { get, sentenceOf } from "./client.js";
import { asked, facts, sheet } from "./dialog.js";
import { button, byId, element, prose, put, write } from "./element.js";
import { EVERYTHING, Feed, totalOf } from "./feed.js";
import { Filters } from "./filters.js";
import { List } from "./list.js";
import { isolated, nameOf, safe } from "./names.js";
import { say, tried } from "./say.js";
import { count, number, size } from "./words.js";

/** @typedef {import("./feed.js").Choice} Choice */
/** @typedef {import("./feed.js").Shown} Shown */

const DONE = {
  retry: { done: "back in the queue", not: "only what has failed, vanished or was forgotten can be tried again" },
  bump: { done: "now first in line", not: "only what waits in the queue can be put first" },
  forget: { done: "out of the queue", not: "it is not in the queue any more" },
};

/** How a try ended. */
const VERDICTS = { retry: "Put off", wait: "Waits", bury: "Given up", drop: "Gone" };

export class Queue {
  /** @type {import("./protocol.js").Status | null} */
  #status = null;
  #isShown = false;

  /** @param {import("./news.js").News} news */
  constructor(news) {
    this.list = new List(byId("rows"), byId("rows-canvas"), {
      looked: () => this.#looked(),
      chose: () => this.#chose(),
      opened: (item) => void this.#why(item),
    });
    this.feed = new Feed((wanted) => get("/v1/items", wanted), this.list.window, {
      isShown: () => this.#isShown,
      lookedAt: () => this.list.lookedAt,
      isFollowing: () => this.list.isFollowing,
      moved: (by) => this.#moved(by),
      failed: (error) => this.#isShown && write(byId("rows-said"), sentenceOf(error)),
    });
    this.filters = new Filters((choice) => this.choose(choice));
    for (const wish of /** @type {const} */ (["retry", "bump", "forget"])) {
      byId(wish).addEventListener("click", () => void this.change(wish));
    }
    byId("rows-all").addEventListener("click", () => {
      this.choose(EVERYTHING);
      this.list.view.focus();
    });
    byId("choose-none").addEventListener("click", () => {
      this.list.chooseNone();
      this.list.view.focus();
    });
    news.listen((told) => this.#hear(told));
  }

  show() {
    this.#isShown = true;
    this.list.scroller.resized();
    this.feed.look();
  }

  hide() {
    this.#isShown = false;
  }

  /** @param {import("./news.js").Told} told */
  #hear(told) {
    const { list } = this;
    if (told.kind === "status") {
      this.#status = told.status;
      this.filters.counted(told.status);
      list.moved(list.window.count(totalOf(this.feed.choice, told.status)));
      this.#looked();
    } else if (told.kind === "transfers") {
      list.shares = new Map(told.transfers.map(({ path, sent, size: all }) => [path, all ? sent / all : 0]));
      list.refresh();
    } else if (told.kind === "items") {
      told.news?.forEach((each) => this.#step(each));
      this.feed.changed();
    }
  }

  /**
   * Show at once what is known of a row; the rest of it is read again.
   * @param {import("./stream.js").ItemNews} news
   */
  #step({ item, state, reason }) {
    const { window } = this.list;
    const at = window.numberOf(item);
    const row = at === null ? null : window.row(at);
    if (row && row.state !== state) Object.assign(row, { state, reason });
  }

  /** @param {Choice} choice */
  choose(choice) {
    this.list.begin(this.#status ? totalOf(choice, this.#status) : null);
    this.feed.choose(choice);
    this.filters.show(choice);
    this.#looked();
  }

  /** @param {number} by */
  #moved(by) {
    this.list.moved(by);
    this.#looked();
  }

  /** Say where the view is, and read what it lacks. */
  #looked() {
    if (!this.feed) return; // the list is being made
    const { window } = this.list;
    const isKnown = window.rows.length > 0 || window.isNewest;
    const more = this.feed.choice.text && !window.isOldest ? "+" : "";
    // The number that the filters show too, though rows may be ahead of it by a moment.
    const total = (this.#status && totalOf(this.feed.choice, this.#status)) ?? window.length;
    write(byId("rows-count"), isKnown ? `${number(total)}${more} ${total === 1 ? "item" : "items"}` : "looking ...");
    const isEmpty = isKnown && window.length === 0;
    const isAll = this.feed.choice === EVERYTHING || !Object.values(this.feed.choice).some(Boolean);
    byId("rows-empty").hidden = !isEmpty;
    if (isEmpty) {
      write(byId("rows-said"), isAll ? "The queue is empty." : "Nothing here matches.");
      const hint = isAll ? "Drop images on this page, or watch a folder: `sploot add FOLDER`" : "";
      byId("rows-hint").replaceChildren(...prose(hint));
      byId("rows-all").hidden = isAll;
    }
    this.feed.look();
  }

  #chose() {
    const chosen = this.list.selection.count(this.list.window.length);
    put(byId("chosen"), "data-any", chosen > 0);
    for (const wish of Object.keys(DONE)) put(byId(wish), "disabled", chosen === 0);
    write(byId("chosen-count"), chosen ? `${number(chosen)} selected` : "");
    byId("choose-none").hidden = chosen === 0;
  }

  /**
   * Retry, bump or forget what is chosen, or else the row that the keys are at.
   * @param {import("./changes.js").Wish} wish
   */
  async change(wish) {
    const { list } = this;
    if (list.selection.isEmpty && list.current) list.selection.only(list.current.id, list.cursor);
    const chosen = list.selection.count(list.window.length);
    if (chosen === 0) return;
    const what = chosen === 1 && list.current ? isolated(nameOf(list.current.path)) : count(chosen, "file");
    if (wish === "forget") {
      const more = "It leaves the queue. Neither the disk nor the library loses anything.";
      if (!(await asked(`Forget ${what}?`, "Forget", more))) return;
    }
    const pages = pagesOf(list.selection, this.feed.choice);
    const done = await tried(changed(wish, pages, (so_far) => chosen > 1000 && say(`${number(so_far)} done ...`)));
    if (done === null) return;
    say(done ? `${count(done, "file")} ${DONE[wish].done}.` : `Nothing to do: ${DONE[wish].not}.`);
    const isLost = document.activeElement === byId(wish); // a button that does nothing any more cannot hold the focus
    list.chooseNone();
    if (isLost) list.view.focus();
  }

  /** @param {Shown} item */
  async #why(item) {
    const story = /** @type {import("./protocol.js").Story | null} */ (await tried(get("/v1/why", { target: item.id })));
    if (!story) return;
    const { item: row, attempts } = story;
    const at = (/** @type {string} */ iso) => new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    const tries = attempts.map((each) => element("li", {}, `${at(each.at)} · ${verdict(each.verdict)}: `, ...prose(safe(each.reason))));
    const versions = story.versions > 1 ? `the newest of ${story.versions}` : null;
    const act = (/** @type {string} */ says, /** @type {import("./changes.js").Wish} */ wish) =>
      button(says, () => {
        made.close();
        this.list.selection.only(row.id, this.list.window.numberOf(row.id) ?? 0);
        void this.change(wish);
      });
    const made = sheet(
      isolated(nameOf(row.path)),
      facts([
        ["State", row.state + (row.duplicate ? " (a duplicate)" : "")],
        ["Why", row.reason && safe(row.reason)],
        ["Next", safe(story.next)],
        ["Path", isolated(row.path)],
        ["Size", size(row.size)],
        ["Priority", row.priority],
        ["Added", at(row.added_at)],
        ["Changed", at(row.updated_at)],
        ["Version", versions],
        ["Tags", row.tags.map(safe).join(", ")],
      ]),
      tries.length ? element("ul", { class: "tries" }, ...tries) : null,
      element("div", { class: "actions" },
        ["dead", "gone", "skipped"].includes(row.state) ? act("Retry", "retry") : null,
        row.state === "pending" ? act("Bump", "bump") : null,
        ["pending", "dead"].includes(row.state) ? act("Forget", "forget") : null,
        button("Close", () => made.close(), { class: "main" })),
    );
  }
}

/** @param {string} name */
function verdict(name) {
  return VERDICTS[/** @type {keyof typeof VERDICTS} */ (name)] ?? name;
}
