/** Share links: a link shows one picture to anyone who has it, until sharing is stopped. */

import { createCard, openPage } from "./page_dialog.js";
import { errorText, get, send } from "../ui/client.js";
import { openDialog } from "../ui/dialog.js";
import { button, element, setText } from "../ui/dom.js";
import { formatCount, formatTime } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/** @typedef {import("./asset.js").Asset} Asset */
/** @typedef {{url: string, expires_at: string | null}} ShareUrl */
/** @typedef {ShareUrl & {created_at: string | null, asset: Asset}} ShareLink */

const ENDS = /** @type {const} */ ([["", "When I stop sharing"], ["1", "In a day"], ["7", "In a week"], ["30", "In 30 days"]]);

/** @param {Asset} asset */
function sharePath({ id }) {
  return `/v1/library/${encodeURIComponent(id)}/share`;
}

/**
 * Create a share link, copy it, and say what it shows.
 * @param {Asset} asset
 * @param {boolean} canExpire
 */
export async function shareLink(asset, canExpire) {
  /** @type {ShareUrl | null} */
  const reply = await withErrorToast(send("POST", sharePath(asset)));
  if (!reply) return;
  const input = element("input", { class: "share-url", type: "text", readonly: true, value: reply.url, "aria-label": "Share link" });
  const copy = () => void withErrorToast(navigator.clipboard.writeText(reply.url)).then((done) =>
    done !== null && setText(status, "The link is copied."));
  const status = element("p", { role: "status" });
  const dialog = openDialog("Share link",
    element("p", {}, "Anyone who has this link sees the picture, without an account. It tells neither the name of the file nor where it was taken."),
    input, ...(canExpire ? [createEndChoice(asset, reply.expires_at)] : []), status,
    element("div", { class: "actions" },
      button("Stop sharing", () => void stopSharing(asset).then((done) => done && dialog.close()), { class: "danger" }),
      button("Copy", copy), button("Done", () => dialog.close(), { class: "primary" })));
  input.select();
  copy();
}

/**
 * Create the choice of when a link ends; a change of it takes effect at once.
 * @param {Asset} asset
 * @param {string | null} expiresAt
 */
function createEndChoice(asset, expiresAt) {
  const time = element("span", { role: "status" });
  const select = element("select", { id: "link-end" }, ...ENDS.map(([days, text]) => element("option", { value: days }, text)));
  const show = (/** @type {string | null} */ end) => setText(time, end ? formatTime(end) : "");
  if (expiresAt) {
    select.prepend(element("option", { value: "unchanged", hidden: true }, "At its time"));
    select.value = "unchanged";
  }
  show(expiresAt);
  select.addEventListener("change", async () => {
    /** @type {ShareUrl | null} */
    const reply = await withErrorToast(send("POST", sharePath(asset), { days: Number(select.value) || null }));
    if (reply) show(reply.expires_at);
  });
  return element("p", { class: "link-end" }, element("label", { for: "link-end" }, "The link ends"), " ", select, " ", time);
}

/**
 * Revoke the share link of a picture. Returns whether it is revoked.
 * @param {Asset} asset
 */
export async function stopSharing(asset) {
  const done = (await withErrorToast(send("DELETE", sharePath(asset)))) !== null;
  if (done) showToast("The link no longer shows the picture.");
  return done;
}

/**
 * Copy the path of a picture; say what a link would need where none can be made.
 * @param {Asset} asset
 * @param {boolean} canShare
 */
export async function copyPath({ path }, canShare) {
  const copied = await withErrorToast(navigator.clipboard.writeText(path ?? ""));
  if (copied === null) return;
  showToast(canShare ? "Path copied." : "Path copied. A link for others needs a server that they can reach.");
}

export class Links {
  #message = element("p", { class: "dim", role: "status" });
  #grid = element("div", { class: "cards" });

  constructor() {
    openPage("Shared links",
      element("div", { class: "bar" }, this.#message), element("div", { class: "page-body" }, this.#grid));
    void this.#load();
  }

  async #load() {
    try {
      /** @type {{links: ShareLink[]}} */
      const { links } = await get("/v1/library/links");
      setText(this.#message, links.length
        ? `${formatCount(links.length, "picture")} can be seen by anyone who has the link.`
        : "No picture is shared.");
      this.#grid.replaceChildren(...links.map((link) => this.#createCard(link)));
    } catch (error) {
      setText(this.#message, errorText(error));
    }
  }

  /** @param {ShareLink} link */
  #createCard({ url, created_at, expires_at, asset }) {
    const copy = () => void withErrorToast(navigator.clipboard.writeText(url)).then((done) =>
      done !== null && showToast("The link is copied."));
    const stop = () => void stopSharing(asset).then(() => this.#load());
    return element("div", { class: "link-card" },
      createCard(asset, timesOf(created_at, expires_at), null),
      element("div", { class: "actions" },
        button("Copy link", copy), button("Stop sharing", stop, { class: "danger" })));
  }
}

/**
 * @param {string | null} createdAt
 * @param {string | null} expiresAt
 */
function timesOf(createdAt, expiresAt) {
  return [createdAt && `Shared: ${formatTime(createdAt)}`, expiresAt && `Ends: ${formatTime(expiresAt)}`].filter(Boolean).join(", ");
}
