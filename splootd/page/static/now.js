/** What goes on now: counts that add up, transfers, the server, the folders, and what needs the user. */

import { change, get } from "./client.js";
import { asked, sheet } from "./dialog.js";
import { button, byId, element, put, write } from "./element.js";
import { isolated, nameOf, safe } from "./names.js";
import { STATES } from "./protocol.js";
import { hush, say, tried } from "./say.js";
import { leftS, Speeds } from "./speeds.js";
import { count, moment, number, size, span } from "./words.js";

/** @typedef {import("./protocol.js").Status} Status */
/** @typedef {import("./protocol.js").FolderRow} FolderRow */
/** @typedef {import("./protocol.js").Need} Need */

const GOOD = new Set(["watching", "polling", "scanning"]);
const PUSH = { websocket: "WebSocket", sse: "server-sent events", polling: "none: asked in batches" };
const BREAKER = {
  closed: "closed: nothing is held back",
  open: "open: nothing is sent until the next try",
  half_open: "half open: one file tries whether it works again",
};

export class Now {
  #speeds = new Speeds();
  /** @type {Map<string, HTMLElement>} the lines of the transfers by path */
  #lines = new Map();
  #shown = new Map();

  /**
   * @param {import("./news.js").News} news
   * @param {(choice: Partial<import("./feed.js").Choice>) => void} showQueue
   */
  constructor(news, showQueue) {
    this.showQueue = showQueue;
    for (const state of STATES) {
      const bar = element("i", { "data-state": state });
      const value = button("0", () => showQueue({ state }), { "data-state": state, "aria-label": state });
      byId("sum-bar").append(bar);
      byId("sum").append(element("li", { "data-state": state }, value, element("span", {}, state)));
      this.#shown.set(state, { bar, value });
    }
    byId("examine").addEventListener("click", () => void this.#examine());
    byId("slow").addEventListener("click", () => void this.#slow());
    news.listen((told) => {
      if (told.kind === "status") this.#show(told.status);
      else if (told.kind === "transfers") this.#transfers(told.transfers);
      else if (told.kind === "offline") this.#transfers([]);
    });
  }

  /** @param {Status} now */
  #show(now) {
    const { items } = now;
    for (const state of STATES) {
      const { bar, value } = this.#shown.get(state);
      bar.style.flexGrow = String(items[state]);
      write(value, number(items[state]));
      put(value, "aria-label", `${number(items[state])} ${state}: show them`);
      for (const each of [bar, value.parentElement]) put(each, "data-none", items[state] === 0);
    }
    write(byId("sum-total"), number(items.total));
    const duplicates = now.ready_of_which_duplicates ? count(now.ready_of_which_duplicates, "duplicate") : "";
    const delayed = now.pending_of_which_delayed ? `${number(now.pending_of_which_delayed)} wait for another try` : "";
    write(byId("sum-notes"), [duplicates && `${duplicates} among the ready`, delayed].filter(Boolean).join(" · "));
    write(byId("rates"), pace(now));
    byId("slowness").hidden = items.pending + items.uploading + items.embedding === 0;
    write(byId("transfers-none"), items.uploading ? "Files so small that they are sent before they could be shown." : "Nothing is being sent.");
    this.#server(now);
    this.#folders(now.folders);
    this.#needs(now);
  }

  /** @param {Status} now */
  #server({ server, daemon }) {
    /** @type {[string, string, boolean][]} name, value, whether all is well */
    const lines = [
      ["Library", server.embedded ? "embedded" : safe(server.url), true],
      ["State", server.state.replace("_", " "), server.state === "ok"],
      ["Breaker", said(BREAKER, server.breaker), server.breaker === "closed"],
      ["Push channel", said(PUSH, server.push), server.push !== "polling" || server.state !== "ok"],
      ["Next try", server.retry_at ? moment(server.retry_at) : "", false],
      ["Trouble", server.detail ? safe(server.detail) : "", false],
      ["Daemon", `${daemon.state}, version ${daemon.version}, process ${daemon.pid}`, daemon.state === "running"],
    ];
    const shown = lines.filter(([, value]) => value).flatMap(([name, value, isWell]) => [
      element("dt", {}, name),
      element("dd", { "data-well": String(isWell) }, value),
    ]);
    redraw(byId("server"), shown);
  }

  /** @param {FolderRow[]} folders */
  #folders(folders) {
    byId("folders-none").hidden = folders.length > 0;
    const rows = folders.map((folder) =>
      element("li", { "data-well": String(GOOD.has(folder.state)) },
        button(isolated(folder.path), () => this.showQueue({ folder: folder.path }), { class: "plain path" }),
        element("span", { class: "health" }, folder.state),
        element("span", { class: "dim" }, [
          count(folder.items, "file"),
          folder.last_new_at && `last new ${moment(folder.last_new_at)}`,
          folder.detail && safe(folder.detail),
        ].filter(Boolean).join(" · ")),
        button("Stop watching", () => void this.#unwatch(folder.path), { "aria-label": `Stop watching ${isolated(folder.path)}` })));
    redraw(byId("folders"), rows);
  }

  /** @param {string} path */
  async #unwatch(path) {
    const more = "What is queued from it stays queued, and what is in the library stays there.";
    if (!(await asked(`Stop watching ${isolated(nameOf(path))}?`, "Stop watching", more))) return;
    const done = await tried(change("POST", "/v1/folders/remove", { folder: path }));
    if (done) say(done.message);
  }

  /** @param {Status} now */
  #needs({ needs_you: needs, folders }) {
    byId("needs-none").hidden = needs.length > 0;
    const cards = needs.map((need) =>
      element("li", {}, element("p", {}, capital(safe(need.what))), element("div", { class: "actions" }, ...this.#mends(need, folders))));
    redraw(byId("needs"), cards);
  }

  /**
   * The buttons that mend it; a command to copy where only a terminal can.
   * @param {Need} need
   * @param {FolderRow[]} folders
   */
  #mends({ command }, folders) {
    if (command === "sploot failed") {
      return [
        button("Show them", () => this.showQueue({ state: "dead" })),
        button("Retry all", () => void this.#post("/v1/retry", { all: true }, "They are back in the queue."), { class: "main" }),
      ];
    }
    if (command === "sploot resume") return [button("It is read", () => void this.#post("/v1/resume", {}), { class: "main" })];
    if (command === "sploot folders") {
      return folders.filter(({ state }) => !GOOD.has(state)).map(({ path }) =>
        button(`Stop watching ${isolated(nameOf(path))}`, () => void this.#unwatch(path)));
    }
    const copy = async () => {
      if ((await tried(navigator.clipboard.writeText(command))) !== null) say("The command is copied; run it in a terminal.");
    };
    return [element("code", {}, command), button("Copy", () => void copy(), { "aria-label": `Copy the command ${command}` })];
  }

  /**
   * @param {string} path
   * @param {object} body
   * @param {string} [says]
   */
  async #post(path, body, says) {
    const done = await tried(change("POST", path, body));
    if (done) say(says ?? done.message);
  }

  /** @param {import("./speeds.js").Moving[]} moving */
  #transfers(moving) {
    const transfers = this.#speeds.note(moving, performance.now());
    const paths = new Set(moving.map(({ path }) => path));
    for (const [path, line] of this.#lines) {
      if (paths.has(path)) continue;
      this.#lines.delete(path);
      line.remove();
    }
    for (const transfer of transfers) {
      let line = this.#lines.get(transfer.path);
      if (!line) {
        const name = isolated(nameOf(transfer.path));
        const bar = element("progress", { "aria-label": `${name} is being sent` });
        line = element("li", {}, element("bdi", {}, name), bar, element("span", { class: "dim" }));
        this.#lines.set(transfer.path, line);
        byId("transfers").append(line);
      }
      const [, bar, words] = line.children;
      put(/** @type {Element} */ (bar), "max", Math.max(1, transfer.size));
      put(/** @type {Element} */ (bar), "value", transfer.sent);
      const left = leftS(transfer);
      const speed = transfer.bytesPerS === null ? "" : `${size(transfer.bytesPerS)}/s`;
      const of = `${size(transfer.sent)} of ${size(transfer.size)}`;
      write(/** @type {Element} */ (words), [of, speed, left === null ? "" : `${span(left)} left`].filter(Boolean).join(" · "));
    }
    byId("transfers-none").hidden = transfers.length > 0;
  }

  async #examine() {
    say("Looking at everything ...");
    /** @type {import("./protocol.js").Findings | null} */
    const said = await tried(get("/v1/doctor?thorough=true"));
    if (!said) return;
    hush();
    const sign = { ok: "✓", note: "!", bad: "✗" };
    const rows = said.findings.map(({ state, check, says, command }) =>
      element("li", { "data-state": state },
        element("b", {}, `${sign[/** @type {keyof typeof sign} */ (state)] ?? "?"} ${check}`),
        element("span", {}, safe(says), command ? element("code", {}, command) : null)));
    const isWell = said.findings.every(({ state }) => state !== "bad");
    const made = sheet(isWell ? "All is well" : "Not all is well", element("ul", { class: "findings" }, ...rows),
      element("div", { class: "actions" }, button("Close", () => made.close(), { class: "main" })));
  }

  async #slow() {
    /** @type {import("./protocol.js").Slow | null} */
    const said = await tried(get("/v1/slow"));
    if (said) write(byId("slow-said"), `${capital(said.because)}. ${said.helps ? `What helps: ${said.helps}` : ""}`);
  }
}

/**
 * How fast it goes and how long it still takes, or why nothing moves.
 * @param {Status} now
 */
function pace({ items, rates, daemon }) {
  const waiting = items.pending + items.uploading;
  if (daemon.state !== "running" && waiting) return `Paused: ${count(waiting, "file waits", "files wait")}.`;
  if (waiting) {
    const left = rates.eta_s === null ? "time left: estimating" : `about ${span(rates.eta_s)} left`;
    return `${size(rates.bytes_per_s)}/s · ${rates.items_per_s.toFixed(1)} files/s · ${left}`;
  }
  if (items.embedding) return `Everything is sent; ${count(items.embedding, "file is", "files are")} being made searchable.`;
  return items.total ? "Nothing waits to be sent." : "";
}

/**
 * @param {Record<string, string>} words
 * @param {string} name
 */
function said(words, name) {
  return words[name] ?? name.replaceAll("_", " ");
}

/** @param {string} sentence */
function capital(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/**
 * Put these in the place of what is there, unless it is the same: a button keeps the focus.
 * @param {HTMLElement} where
 * @param {HTMLElement[]} what
 */
function redraw(where, what) {
  const isSame = what.length === where.children.length && what.every((each, at) => each.isEqualNode(where.children[at] ?? null));
  if (!isSame) where.replaceChildren(...what);
}
