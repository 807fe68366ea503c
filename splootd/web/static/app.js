/** Entry point of the web UI: creates the views, switches between them, handles global keys and the daemon's state. */

import { send } from "./client.js";
import { Dashboard } from "./dashboard.js";
import { descriptionList, openDialog } from "./dialog.js";
import { button, byId, element, setAttribute, setText } from "./dom.js";
import { EventHub } from "./event_hub.js";
import { acceptFiles } from "./file_drop.js";
import { formatCount } from "./format.js";
import { isTyping } from "./keys.js";
import { Library } from "./library.js";
import { MetricsOverlay } from "./overlay.js";
import { NO_FILTER } from "./page_loader.js";
import { Queue } from "./queue.js";
import { showToast, withErrorToast } from "./toast.js";

const VIEWS = /** @type {const} */ (["queue", "library", "dashboard"]);
const TITLES = { queue: "Queue", library: "Library", dashboard: "Dashboard" };

const hub = new EventHub();
const queue = new Queue(hub);
const library = new Library(hub);
new Dashboard(hub, (filter) => {
  goTo("queue");
  queue.setFilter({ ...NO_FILTER, ...filter });
});
const overlay = new MetricsOverlay(hub);
const views = { queue, library, dashboard: { show() {}, hide() {} } };
/** @type {"queue" | "library" | "dashboard" | null} */
let view = null;
/** @type {import("./protocol.js").Status | null} */
let status = null;

function route() {
  const target = VIEWS.find((each) => location.hash === `#${each}`) ?? "queue";
  if (target === view) return;
  if (view) views[view].hide();
  view = target;
  for (const each of VIEWS) {
    byId(each).hidden = each !== view;
    setAttribute(byId(`to-${each}`), "aria-current", each === view ? "page" : null);
  }
  document.title = `${TITLES[view]} · Sploot`;
  views[view].show();
}

/**
 * Switch to a view. Calls `route` itself, because the hashchange event comes only after the next key press may have.
 * @param {"queue" | "library" | "dashboard"} target
 */
function goTo(target) {
  location.hash = target;
  route();
}

/** @param {import("./event_hub.js").StreamEvent} event */
function onEvent(event) {
  const banner = byId("offline");
  if (event.kind === "offline") {
    banner.hidden = false;
    setText(banner, event.message);
    showDaemonState("no daemon", "error");
  } else if (event.kind === "online") {
    if (!banner.hidden) showToast("Reconnected to the daemon.");
    banner.hidden = true;
    setText(banner, "");
  } else if (event.kind === "status") {
    const { daemon, server } = (status = event.status);
    const isOk = daemon.state === "running" && server.state === "ok";
    const state = daemon.state === "running" && !isOk ? server.state.replaceAll("_", " ") : daemon.state;
    showDaemonState(state, isOk ? "ok" : "warning");
    setText(byId("pause"), daemon.state === "paused" ? "Resume" : "Pause");
    announceCompletion(event.status);
  }
}

/**
 * @param {string} text
 * @param {"ok" | "warning" | "error"} health
 */
function showDaemonState(text, health) {
  setText(byId("daemon-state"), text);
  setAttribute(byId("daemon-state"), "data-health", health);
}

let announcement = "";

/**
 * Announce to screen readers that the queue is finished, once, and no step before that.
 * @param {import("./protocol.js").Status} status
 */
function announceCompletion({ items }) {
  if (items.pending + items.uploading + items.embedding > 0 || !items.total) return;
  const failed = items.failed ? `; ${formatCount(items.failed, "file")} failed` : "";
  const text = `All files are processed: ${formatCount(items.ready, "file")} ready${failed}.`;
  if (text !== announcement) setText(byId("announcement"), (announcement = text));
}

async function togglePause() {
  const reply = await withErrorToast(send("POST", status?.daemon.state === "paused" ? "/v1/resume" : "/v1/pause"));
  if (reply) showToast(reply.message);
}

function showHelp() {
  const dialog = openDialog("Keyboard shortcuts", descriptionList([
    ["1 2 3", "Queue, Library, Dashboard"],
    ["/", "Search"],
    ["↑ ↓ PgUp PgDn Home End", "Move through the list"],
    ["Space", "Select a row; Shift with an arrow key selects a range"],
    ["Ctrl A", "Select all files that match the filter"],
    ["Enter", "Show the details of a file, or a picture in full size"],
    ["r b f", "Retry, bump, forget the selected files"],
    ["f s Delete", "In the library: favourite, similar, delete"],
    ["p", "Pause or resume uploads"],
    ["Ctrl Shift M", "Show metrics"],
    ["Escape", "Close, or clear the selection"],
  ]), element("div", { class: "actions" }, button("Close", () => dialog.close(), { class: "primary" })));
}

/** @type {Record<string, () => void>} */
const SHORTCUTS = {
  1: () => goTo("queue"),
  2: () => goTo("library"),
  3: () => goTo("dashboard"),
  "?": showHelp,
  "/": () => byId(view === "library" ? "search" : "text").focus(),
  p: () => void togglePause(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "m") {
    event.preventDefault();
    overlay.toggle();
    return;
  }
  const isDialogOpen = document.querySelector("dialog[open]") !== null;
  if (event.key === "Escape" && !byId("overlay").hidden && !isDialogOpen) return overlay.toggle();
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || isDialogOpen) return;
  const action = /** @type {const} */ ({ r: "retry", b: "bump", f: "forget" })[event.key];
  const shortcut = view === "queue" && action ? () => void queue.apply(action) : SHORTCUTS[event.key];
  if (!shortcut) return;
  event.preventDefault();
  shortcut();
});
addEventListener("hashchange", route);
byId("pause").addEventListener("click", () => void togglePause());
byId("shortcuts").addEventListener("click", showHelp);
acceptFiles();
hub.subscribe(onEvent);
hub.connect();
route();
