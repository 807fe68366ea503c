/** The settings view: watched folders, the library, limits, notifications, theme. */

import { get } from "../ui/client.js";
import { openDialog } from "../ui/dialog.js";
import { button, byId, element, replaceIfChanged, setAttribute, withCode } from "../ui/dom.js";
import { escapeInvisible } from "../ui/filename.js";
import { capitalize, formatCount, formatTime } from "../ui/format.js";
import { makeRoving } from "../ui/keys.js";
import { chooseTheme, chosenTheme, THEMES } from "../ui/theme.js";
import { hideToast, showToast, withErrorToast } from "../ui/toast.js";
import { describeServer } from "./server_state.js";
import { changeSetting, createField, FIELDS } from "./setting_fields.js";
import { WatchedFolders } from "./watched_folders.js";

/** @typedef {import("./protocol.js").Status} Status */

export class Settings {
  #isVisible = false;
  #isStale = false;
  #server = /** @type {HTMLInputElement} */ (byId("server-url"));

  /**
   * @param {import("./event_hub.js").EventHub} hub
   * @param {(filter: Partial<import("./page_loader.js").ItemFilter>) => void} showItems
   */
  constructor(hub, showItems) {
    const folders = new WatchedFolders(showItems);
    byId("run-doctor").addEventListener("click", () => void runDoctor());
    byId("change-server").addEventListener("submit", (event) => {
      event.preventDefault();
      void changeSetting("server", this.#server.value.trim());
    });
    const theme = byId("theme");
    theme.append(...THEMES.map((each) => button(capitalize(each), () => {
      chooseTheme(each);
      showTheme();
    }, { role: "radio", "data-theme-name": each })));
    showTheme();
    makeRoving(theme);
    hub.subscribe((event) => {
      if (event.kind === "offline") this.#isStale = true; // the daemon starts again, perhaps with other settings
      if (event.kind === "online" && this.#isStale) void this.#load();
      if (event.kind !== "status") return;
      showServer(event.status);
      folders.show(event.status.folders);
    });
  }

  show() {
    this.#isVisible = true;
    void this.#load();
  }

  hide() {
    this.#isVisible = false;
  }

  async #load() {
    if (!this.#isVisible) return;
    this.#isStale = false;
    /** @type {import("./protocol.js").Settings | null} */
    const reply = await withErrorToast(get("/v1/settings"));
    if (!reply) return;
    const values = new Map(reply.settings.map((setting) => [setting.key, setting]));
    if (document.activeElement !== this.#server) this.#server.value = values.get("server")?.value ?? "";
    const fields = FIELDS.flatMap((field) => {
      const setting = values.get(field.key);
      return setting ? [createField(field, setting)] : [];
    });
    if (!byId("fields").contains(document.activeElement)) byId("fields").replaceChildren(...fields);
  }
}

function showTheme() {
  for (const choice of byId("theme").children) {
    setAttribute(choice, "aria-checked", String(choice.getAttribute("data-theme-name") === chosenTheme()));
  }
}

/** @param {Status} status */
function showServer({ server, daemon }) {
  const isOk = server.state === "ok";
  /** @type {[string, string, boolean][]} name, value, true if it is as it should be */
  const facts = [
    ["Stored", server.is_local ? "on this computer" : escapeInvisible(server.url), true],
    ["State", capitalize(describeServer(server)), isOk],
    ["Sign in", server.state === "signed_out" ? "Run `sploot login` in a terminal" : "", false],
    ["Next attempt", server.retry_at ? formatTime(server.retry_at) : "", false],
    [isOk ? "Activity" : "Error", escapeInvisible(server.detail ?? ""), isOk],
    ["Uploads", server.breaker === "closed" ? "" : "Stopped until the server answers again", false],
    ["Version", daemon.version, true],
  ];
  const shown = facts.filter(([, value]) => value).flatMap(([name, value, isExpected]) => [
    element("dt", {}, name),
    element("dd", { "data-ok": String(isExpected) }, ...withCode(value)),
  ]);
  replaceIfChanged(byId("server"), shown);
}

async function runDoctor() {
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
  const problems = reply.findings.filter(({ state }) => state !== "ok").length;
  const title = problems ? `${formatCount(problems, "problem")} found` : "No problems found";
  const dialog = openDialog(title, element("ul", { class: "findings" }, ...rows),
    element("div", { class: "actions" }, button("Close", () => dialog.close(), { class: "primary" })));
}
