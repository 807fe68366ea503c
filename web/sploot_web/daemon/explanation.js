/** Dialog that says how one file is: its state, why, what happens next, and what can be done about it. */

import { get, send } from "../ui/client.js";
import { descriptionList, openDialog } from "../ui/dialog.js";
import { button, element, withCode } from "../ui/dom.js";
import { baseName, escapeInvisible, isolate } from "../ui/filename.js";
import { formatSize, formatTime } from "../ui/format.js";
import { stateLabel } from "../ui/states.js";
import { showToast, withErrorToast } from "../ui/toast.js";
import { describePlace, isFromBrowser } from "./places.js";

/** Labels of what followed from an attempt. */
const ATTEMPT_LABELS = {
  retry: "Retry scheduled", snooze: "Postponed", discard: "Gave up", skip: "Skipped", file_missing: "File missing",
};
const SMALLER = "Save it with a lower resolution or quality, or as WebP or JPEG, under the same name. "
  + "Then open this again: Retry sends the new file.";

/**
 * @typedef {object} Handlers
 * @property {(action: import("./item_actions.js").ItemAction) => void} onAction
 * @property {(assetId: string) => void} onPicture
 */

/**
 * Open the dialog for an item.
 * @param {number} id
 * @param {Handlers} handlers
 */
export async function openExplanation(id, handlers) {
  /** @type {import("./protocol.js").Explanation | null} */
  const explanation = await withErrorToast(get("/v1/why", { target: id }));
  if (!explanation) return;
  const { item, attempts } = explanation;
  const attemptRows = attempts.map((each) => {
    const message = withCode(escapeInvisible(each.error_message));
    return element("li", {}, `${formatTime(each.at)} · ${attemptLabel(each.action)}: `, ...message);
  });
  const dialog = openDialog(
    isolate(baseName(item.path)),
    descriptionList([
      ["State", stateLabel(item.state) + (item.duplicate ? " (duplicate)" : "")],
      ["Error", item.error_message && escapeInvisible(item.error_message)],
      ["Next", item.state === "ready" && !explanation.removed_at ? null : escapeInvisible(explanation.next)],
      ["How", item.error_code === "too_large" ? SMALLER : null],
      ["File", describePlace(item.path)],
      ["Size", formatSize(item.size)],
      ["Priority", item.priority === "normal" ? null : item.priority],
      ["Added", formatTime(item.added_at)],
      ["Changed", formatTime(item.updated_at)],
      ["Version", explanation.versions > 1 ? `newest of ${explanation.versions}` : null],
      ["Tags", item.tags.map(escapeInvisible).join(", ")],
    ]),
    attemptRows.length ? element("ul", { class: "attempts" }, ...attemptRows) : null,
    element("div", { class: "actions" }, ...actionButtons(explanation, handlers, () => dialog.close())),
  );
}

/**
 * Create the buttons that do something for this item, the most helpful one last.
 * @param {import("./protocol.js").Explanation} explanation
 * @param {Handlers} handlers
 * @param {() => void} close
 */
function actionButtons({ item, can_retry: canRetry, removed_at }, { onAction, onPicture }, close) {
  const { state, asset_id: assetId } = item;
  const act = (/** @type {string} */ label, /** @type {() => void} */ action) =>
    button(label, () => {
      close();
      action();
    });
  const isInLibrary = assetId !== null && state === "ready" && removed_at === null;
  const buttons = [
    ["pending", "failed", "missing"].includes(state) ? act("Forget", () => onAction("forget")) : null,
    state === "missing" || isFromBrowser(item.path) ? null : act("Show in folder", () => void reveal(item.id)),
    state === "pending" ? act("Move to front", () => onAction("bump")) : null,
    canRetry ? act("Retry", () => onAction("retry")) : null,
    removed_at ? act("Upload again", () => void uploadAgain(item.path)) : null,
    isInLibrary ? act("Open picture", () => onPicture(assetId)) : null,
    button("Close", close),
  ].filter((each) => each !== null);
  buttons.at(isInLibrary ? -2 : -1)?.classList.add("primary");
  return buttons;
}

/** @param {number} id */
async function reveal(id) {
  const reply = await withErrorToast(send("POST", "/v1/reveal", { target: String(id) }));
  if (reply) showToast(reply.message);
}

/** @param {string} path */
async function uploadAgain(path) {
  const body = { paths: [path], force: true, watch: false, priority: "urgent" };
  /** @type {import("./protocol.js").AddReply | null} */
  const reply = await withErrorToast(send("POST", "/v1/add", body));
  if (reply) showToast(reply.paths[0]?.detail ?? "It is uploaded again.");
}

/** @param {string} action */
function attemptLabel(action) {
  return ATTEMPT_LABELS[/** @type {keyof typeof ATTEMPT_LABELS} */ (action)] ?? action;
}
