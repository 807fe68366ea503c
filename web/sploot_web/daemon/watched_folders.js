/** The watched folders on the settings view: their state, a field to add one, a button to stop watching. */

import { get, send } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { button, byId, element, replaceIfChanged, setAttribute } from "../ui/dom.js";
import { baseName, displayPath, escapeInvisible, isolate } from "../ui/filename.js";
import { capitalize, formatCount, formatTime } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";
import { expandHome } from "./places.js";

const HEALTHY_STATES = new Set(["watching", "polling", "scanning"]);
const DEBOUNCE_MS = 120;

/** @typedef {import("./protocol.js").FolderRow} FolderRow */

export class WatchedFolders {
  #path = /** @type {HTMLInputElement} */ (byId("watch-path"));
  #debounceTimer = 0;

  /** @param {(filter: Partial<import("./page_loader.js").ItemFilter>) => void} showItems */
  constructor(showItems) {
    this.showItems = showItems;
    this.#path.addEventListener("input", () => {
      clearTimeout(this.#debounceTimer);
      this.#debounceTimer = window.setTimeout(() => void this.#complete(), DEBOUNCE_MS);
    });
    byId("watch").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#watch();
    });
  }

  /** @param {FolderRow[]} folders */
  show(folders) {
    const rows = folders.map(({ path, state, items, last_new_at, detail }) =>
      element("li", { "data-ok": String(HEALTHY_STATES.has(state)) },
        button(displayPath(path), () => this.showItems({ folder: path }), { class: "link path" }),
        element("span", { class: "health" }, capitalize(state)),
        element("span", { class: "dim" }, [
          formatCount(items, "file"),
          last_new_at && `last new ${formatTime(last_new_at)}`,
          detail && escapeInvisible(detail),
        ].filter(Boolean).join(" · ")),
        button("Stop watching", () => void stopWatching(path), {
          "aria-label": `Stop watching ${displayPath(path)}`,
        })));
    replaceIfChanged(byId("folders"), rows);
  }

  /** Offer the folders that begin with what was typed. A browser cannot show a dialog for a path on this computer. */
  async #complete() {
    /** @type {import("./protocol.js").FolderNames | null} */
    const reply = await get("/v1/folders/find", { text: this.#path.value || "~/" }).catch(() => null);
    const options = (reply?.folders ?? []).map((path) => element("option", { value: path }));
    replaceIfChanged(byId("watch-found"), options);
  }

  async #watch() {
    const path = expandHome(this.#path.value.trim());
    setAttribute(this.#path, "aria-busy", true);
    /** @type {import("./protocol.js").AddReply | null} */
    const reply = await withErrorToast(send("POST", "/v1/add", { paths: [path], watch: true }));
    setAttribute(this.#path, "aria-busy", false);
    const [outcome] = reply?.paths ?? [];
    if (!outcome) return;
    if (outcome.outcome !== "folder") return showToast(outcome.detail ?? `${displayPath(path)} is no folder.`);
    this.#path.value = "";
    showToast(`Watching ${displayPath(path)}.`);
  }
}

/** @param {string} path */
async function stopWatching(path) {
  const details = "Its files stay in the library, and new ones are no longer added.";
  if (!(await confirmDialog(`Stop watching ${isolate(baseName(path))}?`, "Stop watching", details))) return;
  const reply = await withErrorToast(send("POST", "/v1/folders/remove", { folder: path }));
  if (reply) showToast(`${displayPath(path)} is no longer watched.`);
}
