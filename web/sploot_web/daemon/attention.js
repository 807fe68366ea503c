/** What needs the user: a list on the Activity view with the buttons that resolve it, and a badge in the navigation. */

import { send } from "../ui/client.js";
import { button, byId, element, replaceIfChanged, setAttribute, setText } from "../ui/dom.js";
import { escapeInvisible } from "../ui/filename.js";
import { capitalize, formatCount } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/** @typedef {import("./protocol.js").ActionRequired} ActionRequired */

export class Attention {
  /**
   * @param {import("./event_hub.js").EventHub} hub
   * @param {(filter: Partial<import("./page_loader.js").ItemFilter>) => void} showItems
   * @param {() => void} showFolders
   */
  constructor(hub, showItems, showFolders) {
    this.showItems = showItems;
    this.showFolders = showFolders;
    hub.subscribe((event) => event.kind === "status" && this.#show(event.status.actions_required));
  }

  /** @param {ActionRequired[]} actions */
  #show(actions) {
    const badge = byId("attention");
    badge.hidden = actions.length === 0;
    setText(badge, String(actions.length));
    const title = actions.length ? `${formatCount(actions.length, "thing needs", "things need")} your attention` : null;
    setAttribute(byId("to-activity"), "title", title);
    const rows = actions.map((action) => {
      const buttons = element("div", { class: "actions" }, ...this.#buttons(action));
      return element("li", {}, element("p", {}, capitalize(escapeInvisible(action.what))), buttons);
    });
    replaceIfChanged(byId("actions"), rows);
  }

  /**
   * Create the buttons that resolve an action, or a command to copy if that is possible only in a terminal.
   * @param {ActionRequired} action
   */
  #buttons({ command }) {
    if (command === "sploot failed") return [button("Show", () => this.showItems({ state: "failed" }))];
    if (command === "sploot folders") return [button("Show folders", this.showFolders)];
    if (command === "sploot resume") return [button("Dismiss", () => void dismiss())];
    const copy = async () => {
      const copied = await withErrorToast(navigator.clipboard.writeText(command));
      if (copied !== null) showToast("Command copied. Run it in a terminal.");
    };
    const copyButton = button("Copy", () => void copy(), { "aria-label": `Copy the command ${command}` });
    return [element("code", {}, command), copyButton];
  }
}

async function dismiss() {
  const reply = await withErrorToast(send("POST", "/v1/resume"));
  if (reply) showToast(reply.message);
}
