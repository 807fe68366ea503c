/** The dashboard view: counts by state, transfers, server status, watched folders, actions that need the user. */

import { get, send } from "./client.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { button, byId, element, setAttribute, setText } from "./dom.js";
import { baseName, escapeInvisible, isolate } from "./filename.js";
import { capitalize, formatCount, formatDuration, formatNumber, formatSize, formatTime, stateLabel } from "./format.js";
import { STATES } from "./protocol.js";
import { hideToast, showToast, withErrorToast } from "./toast.js";
import { remainingS, TransferRates } from "./transfer_rates.js";

/** @typedef {import("./protocol.js").Status} Status */
/** @typedef {import("./protocol.js").FolderRow} FolderRow */
/** @typedef {import("./protocol.js").ActionRequired} ActionRequired */

const HEALTHY_FOLDER_STATES = new Set(["watching", "polling", "scanning"]);
const PUSH_LABELS = { websocket: "WebSocket", sse: "server-sent events", polling: "none; polls in batches" };
const BREAKER_LABELS = {
  closed: "closed: uploads are allowed",
  open: "open: uploads are stopped until the next attempt",
  half_open: "half open: one upload tests the server",
};

export class Dashboard {
  #rates = new TransferRates();
  /** @type {Map<string, HTMLElement>} the displayed transfers by path */
  #transferRows = new Map();
  #counts = new Map();

  /**
   * @param {import("./event_hub.js").EventHub} hub
   * @param {(filter: Partial<import("./page_loader.js").ItemFilter>) => void} showQueue
   */
  constructor(hub, showQueue) {
    this.showQueue = showQueue;
    for (const state of STATES) {
      const bar = element("i", { "data-state": state });
      const value = button("0", () => showQueue({ state }), { "data-state": state, "aria-label": stateLabel(state) });
      byId("counts-bar").append(bar);
      byId("counts").append(element("li", { "data-state": state }, value, element("span", {}, stateLabel(state))));
      this.#counts.set(state, { bar, value });
    }
    byId("run-doctor").addEventListener("click", () => void this.#runDoctor());
    byId("find-bottleneck").addEventListener("click", () => void this.#findBottleneck());
    hub.subscribe((event) => {
      if (event.kind === "status") this.#show(event.status);
      else if (event.kind === "transfers") this.#showTransfers(event.transfers);
      else if (event.kind === "offline") this.#showTransfers([]);
    });
  }

  /** @param {Status} status */
  #show(status) {
    const { items } = status;
    for (const state of STATES) {
      const { bar, value } = this.#counts.get(state);
      bar.style.flexGrow = String(items[state]);
      setText(value, formatNumber(items[state]));
      setAttribute(value, "aria-label", `${formatNumber(items[state])} ${stateLabel(state)}: show in the queue`);
      for (const each of [bar, value.parentElement]) setAttribute(each, "data-none", items[state] === 0);
    }
    setText(byId("counts-total"), formatNumber(items.total));
    const duplicates = status.duplicates ? `${formatCount(status.duplicates, "duplicate")} among the ready files` : "";
    const delayed = status.delayed ? `${formatCount(status.delayed, "file waits", "files wait")} for a retry` : "";
    setText(byId("counts-notes"), [duplicates, delayed].filter(Boolean).join(" · "));
    setText(byId("rates"), describeProgress(status));
    byId("bottleneck").hidden = items.pending + items.uploading + items.embedding === 0;
    const briefUploads = "Small files are uploading, each too briefly to be shown.";
    setText(byId("transfers-none"), items.uploading ? briefUploads : "No uploads in progress.");
    this.#showServer(status);
    this.#showFolders(status.folders);
    this.#showActions(status);
  }

  /** @param {Status} status */
  #showServer({ server, daemon }) {
    /** @type {[string, string, boolean][]} name, value, true if it is as it should be */
    const facts = [
      ["Server", server.is_local ? "local" : escapeInvisible(server.url), true],
      ["State", server.state.replaceAll("_", " "), server.state === "ok"],
      ["Circuit breaker", label(BREAKER_LABELS, server.breaker), server.breaker === "closed"],
      ["Push channel", label(PUSH_LABELS, server.push), server.push !== "polling" || server.state !== "ok"],
      ["Next attempt", server.retry_at ? formatTime(server.retry_at) : "", false],
      ["Error", server.detail ? escapeInvisible(server.detail) : "", false],
      ["Daemon", `${daemon.state}, version ${daemon.version}, process ${daemon.pid}`, daemon.state === "running"],
    ];
    const shown = facts.filter(([, value]) => value).flatMap(([name, value, isOk]) => [
      element("dt", {}, name),
      element("dd", { "data-ok": String(isOk) }, value),
    ]);
    replaceIfChanged(byId("server"), shown);
  }

  /** @param {FolderRow[]} folders */
  #showFolders(folders) {
    byId("folders-none").hidden = folders.length > 0;
    const rows = folders.map((folder) =>
      element("li", { "data-ok": String(HEALTHY_FOLDER_STATES.has(folder.state)) },
        button(isolate(folder.path), () => this.showQueue({ folder: folder.path }), { class: "link path" }),
        element("span", { class: "health" }, folder.state),
        element("span", { class: "dim" }, [
          formatCount(folder.items, "file"),
          folder.last_new_at && `last new ${formatTime(folder.last_new_at)}`,
          folder.detail && escapeInvisible(folder.detail),
        ].filter(Boolean).join(" · ")),
        button("Stop watching", () => void this.#stopWatching(folder.path), {
          "aria-label": `Stop watching ${isolate(folder.path)}`,
        })));
    replaceIfChanged(byId("folders"), rows);
  }

  /** @param {string} path */
  async #stopWatching(path) {
    const details = "Its queued files stay queued, and its pictures stay in the library.";
    if (!(await confirmDialog(`Stop watching ${isolate(baseName(path))}?`, "Stop watching", details))) return;
    const reply = await withErrorToast(send("POST", "/v1/folders/remove", { folder: path }));
    if (reply) showToast(reply.message);
  }

  /** @param {Status} status */
  #showActions({ actions_required: actions, folders }) {
    byId("actions-none").hidden = actions.length > 0;
    const rows = actions.map((action) => {
      const buttons = element("div", { class: "actions" }, ...this.#actionButtons(action, folders));
      return element("li", {}, element("p", {}, capitalize(escapeInvisible(action.what))), buttons);
    });
    replaceIfChanged(byId("actions"), rows);
  }

  /**
   * Create the buttons that resolve a required action, or a command to copy if that is possible only in a terminal.
   * @param {ActionRequired} action
   * @param {FolderRow[]} folders
   */
  #actionButtons({ command }, folders) {
    if (command === "sploot failed") {
      const retryAll = () => void this.#post("/v1/retry", { all: true }, "All failed files are back in the queue.");
      return [
        button("Show", () => this.showQueue({ state: "failed" })),
        button("Retry all", retryAll, { class: "primary" }),
      ];
    }
    if (command === "sploot resume") {
      return [button("Dismiss", () => void this.#post("/v1/resume", {}), { class: "primary" })];
    }
    if (command === "sploot folders") {
      return folders.filter(({ state }) => !HEALTHY_FOLDER_STATES.has(state)).map(({ path }) =>
        button(`Stop watching ${isolate(baseName(path))}`, () => void this.#stopWatching(path)));
    }
    const copy = async () => {
      const copied = await withErrorToast(navigator.clipboard.writeText(command));
      if (copied !== null) showToast("Command copied. Run it in a terminal.");
    };
    const copyButton = button("Copy", () => void copy(), { "aria-label": `Copy the command ${command}` });
    return [element("code", {}, command), copyButton];
  }

  /**
   * @param {string} path
   * @param {object} body
   * @param {string} [message] shown in place of the daemon's
   */
  async #post(path, body, message) {
    const reply = await withErrorToast(send("POST", path, body));
    if (reply) showToast(message ?? reply.message);
  }

  /** @param {import("./transfer_rates.js").Progress[]} progress */
  #showTransfers(progress) {
    const transfers = this.#rates.update(progress, performance.now());
    const paths = new Set(progress.map(({ path }) => path));
    for (const [path, row] of this.#transferRows) {
      if (paths.has(path)) continue;
      this.#transferRows.delete(path);
      row.remove();
    }
    for (const transfer of transfers) {
      let row = this.#transferRows.get(transfer.path);
      if (!row) {
        const name = isolate(baseName(transfer.path));
        const bar = element("progress", { "aria-label": `Uploading ${name}` });
        row = element("li", {}, element("bdi", {}, name), bar, element("span", { class: "dim" }));
        this.#transferRows.set(transfer.path, row);
        byId("transfers").append(row);
      }
      const [, bar, text] = row.children;
      setAttribute(/** @type {Element} */ (bar), "max", Math.max(1, transfer.size));
      setAttribute(/** @type {Element} */ (bar), "value", transfer.sent);
      const leftS = remainingS(transfer);
      const left = leftS === null ? "" : `${formatDuration(leftS)} left`;
      const rate = transfer.bytesPerS === null ? "" : `${formatSize(transfer.bytesPerS)}/s`;
      const sent = `${formatSize(transfer.sent)} of ${formatSize(transfer.size)}`;
      setText(/** @type {Element} */ (text), [sent, rate, left].filter(Boolean).join(" · "));
    }
    byId("transfers-none").hidden = transfers.length > 0;
  }

  async #runDoctor() {
    showToast("Running all checks ...");
    /** @type {import("./protocol.js").Findings | null} */
    const reply = await withErrorToast(get("/v1/doctor?thorough=true"));
    if (!reply) return;
    hideToast();
    const signs = { ok: "✓", warning: "!", error: "✗" };
    const rows = reply.findings.map(({ state, check, message, command }) =>
      element("li", { "data-state": state },
        element("b", {}, `${signs[/** @type {keyof typeof signs} */ (state)] ?? "?"} ${check}`),
        element("span", {}, escapeInvisible(message), command ? element("code", {}, command) : null)));
    const hasErrors = reply.findings.some(({ state }) => state === "error");
    const title = hasErrors ? "Problems found" : "No problems found";
    const dialog = openDialog(title, element("ul", { class: "findings" }, ...rows),
      element("div", { class: "actions" }, button("Close", () => dialog.close(), { class: "primary" })));
  }

  async #findBottleneck() {
    /** @type {import("./protocol.js").Bottleneck | null} */
    const reply = await withErrorToast(get("/v1/slow"));
    if (!reply) return;
    const suggestion = reply.suggestion ? `What helps: ${reply.suggestion}` : "";
    setText(byId("bottleneck-message"), `${capitalize(reply.cause)}. ${suggestion}`);
  }
}

/**
 * Describe the upload rate and the time left, or why no upload is in progress.
 * @param {Status} status
 */
function describeProgress({ items, rates, daemon }) {
  const waiting = items.pending + items.uploading;
  if (daemon.state !== "running" && waiting) return `Paused: ${formatCount(waiting, "file waits", "files wait")}.`;
  if (waiting) {
    const left = rates.eta_s === null ? "estimating time left" : `about ${formatDuration(rates.eta_s)} left`;
    return `${formatSize(rates.bytes_per_s)}/s · ${rates.items_per_s.toFixed(1)} files/s · ${left}`;
  }
  if (items.embedding) {
    const processing = formatCount(items.embedding, "file is", "files are");
    return `All files are uploaded; ${processing} being processed for search.`;
  }
  return items.total ? "No files are waiting." : "";
}

/**
 * @param {Record<string, string>} labels
 * @param {string} name
 */
function label(labels, name) {
  return labels[name] ?? name.replaceAll("_", " ");
}

/**
 * Replace the children of `parent` unless they are equal: replacing a focused button would lose the focus.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
function replaceIfChanged(parent, children) {
  const current = parent.children;
  const isSame = children.length === current.length
    && children.every((each, index) => each.isEqualNode(current[index] ?? null));
  if (!isSame) parent.replaceChildren(...children);
}
