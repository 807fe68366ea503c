/** Entry point of the web UI: creates the views, switches between them, handles global keys and the daemon's state. */

import { send } from "../ui/client.js";
import { Activity } from "./activity.js";
import { Attention } from "./attention.js";
import { descriptionList, openDialog } from "../ui/dialog.js";
import { button, byId, element, setAttribute, setText, withCode } from "../ui/dom.js";
import { EventHub } from "./event_hub.js";
import { uploadFiles } from "./file_drop.js";
import { acceptFiles } from "../ui/file_input.js";
import { createFirstRun } from "./first_run.js";
import { capitalize, formatCount } from "../ui/format.js";
import { isTyping } from "../ui/keys.js";
import { Library } from "../library/library.js";
import { MetricsPanel } from "./metrics_panel.js";
import { NO_FILTER } from "./page_loader.js";
import { loadPlaces } from "./places.js";
import { Progress } from "./progress.js";
import { describeDaemon, describeServer } from "./server_state.js";
import { Settings } from "./settings.js";
import { showToast, withErrorToast } from "../ui/toast.js";

const VIEWS = /** @type {const} */ (["library", "activity", "settings"]);
const OFFLINE_MS = 1500; // a daemon that restarts with a new setting is away for less
const TITLES = { library: "Library", activity: "Activity", settings: "Settings" };

/** @typedef {typeof VIEWS[number]} View */

const hub = new EventHub();
const activity = new Activity(hub);
const library = new Library(byId("library"), byId("search-slot"));
const metrics = new MetricsPanel(hub);
const settings = new Settings(hub, showItems);
const views = { library, activity, settings };
let offlineTimer = 0;
/** @type {View | null} */
let view = null;
/** @type {import("./protocol.js").Status | null} */
let status = null;

/** Show the view that the address names: `#library`, `#activity`, `#settings`, each with its own part after a `?`. */
function route() {
  const target = VIEWS.find((each) => location.hash.split("?")[0] === `#${each}`) ?? "library";
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
 * @param {View} target
 */
function goTo(target) {
  if (view !== target) location.hash = target;
  route();
}

/** @param {Partial<import("./page_loader.js").ItemFilter>} filter */
function showItems(filter) {
  goTo("activity");
  activity.setFilter({ ...NO_FILTER, ...filter });
}

/** @param {import("./event_hub.js").StreamEvent} event */
function onEvent(event) {
  const banner = byId("offline");
  if (event.kind === "items" && (event.events === null || event.events.some(({ state }) => state === "ready"))) {
    library.onLibraryChange();
  }
  if (event.kind === "offline") {
    offlineTimer ||= window.setTimeout(() => showOffline(event.message), banner.hidden ? OFFLINE_MS : 0);
    showDaemonState("No daemon", "error");
  } else if (event.kind === "online") {
    clearTimeout(offlineTimer);
    offlineTimer = 0;
    if (!banner.hidden) showToast("Reconnected to the daemon.");
    banner.hidden = true;
    banner.replaceChildren();
  } else if (event.kind === "status") {
    status = event.status;
    const { text, isOk } = describeDaemon(status);
    showDaemonState(capitalize(text), isOk ? "ok" : "warning");
    const { server } = status;
    const isAvailable = !["starting", "unreachable", "signed_out"].includes(server.state);
    library.onAvailability(isAvailable ? "" : `The library ${describeServer(server)}.`);
    setText(byId("pause"), status.daemon.state === "paused" ? "Resume" : "Pause");
    announceCompletion(event.status);
  }
}

/** @param {string} message with commands in backticks */
function showOffline(message) {
  offlineTimer = 0;
  const banner = byId("offline");
  if (banner.textContent !== message.replaceAll("`", "")) banner.replaceChildren(...withCode(message));
  banner.hidden = false;
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
    ["1 2 3", "Library, Activity, Settings"],
    ["/", "Search the library; in Activity, find a file by its name"],
    ["↑ ↓ PgUp PgDn Home End", "Move through the list"],
    ["Space", "Select a row; Shift with an arrow key selects a range"],
    ["Ctrl A", "Select all files that match the filter"],
    ["Enter", "Show the details of a file, or a picture in full size"],
    ["r b f", "Retry the selected files, move them to the front, forget them"],
    ["c d o", "In the library: copy, download, open in a new tab"],
    ["f g s Delete", "In the library: favourite, the pictures of a stack, similar, delete"],
    ["p", "Pause or resume uploads"],
    ["Ctrl Shift M", "Show metrics"],
    ["Escape", "Close, or clear the selection"],
  ]), element("div", { class: "actions" }, button("Close", () => dialog.close(), { class: "primary" })));
}

/** @type {Record<string, () => void>} */
const SHORTCUTS = {
  1: () => goTo("library"),
  2: () => goTo("activity"),
  3: () => goTo("settings"),
  "?": showHelp,
  "/": () => byId(view === "activity" ? "text" : "search").focus(),
  p: () => void togglePause(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "m") {
    event.preventDefault();
    metrics.toggle();
    return;
  }
  const isDialogOpen = document.querySelector("dialog[open]") !== null;
  if (event.key === "Escape" && !byId("metrics-panel").hidden && !isDialogOpen) return metrics.toggle();
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || isDialogOpen) return;
  const action = /** @type {const} */ ({ r: "retry", b: "bump", f: "forget" })[event.key];
  const shortcut = view === "activity" && action ? () => void activity.apply(action) : SHORTCUTS[event.key];
  if (!shortcut) return;
  event.preventDefault();
  shortcut();
});
addEventListener("hashchange", route);
byId("pause").addEventListener("click", () => void togglePause());
byId("shortcuts").addEventListener("click", showHelp);
byId("search-slot").addEventListener("input", () => goTo("library"));
const picker = acceptFiles((files) => void uploadFiles(files));
byId("library").querySelector(".stack")?.append(createFirstRun(picker));
new Attention(hub, showItems, () => goTo("settings"));
new Progress(hub);
hub.subscribe(onEvent);
void loadPlaces();
hub.connect();
route();
