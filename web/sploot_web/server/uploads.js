/** Shows the uploads of this browser: one line with the progress, and what failed with its remedy. */

import { button, element, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { formatCount } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";
import { UploadQueue } from "./upload_queue.js";

/** @typedef {import("./upload_store.js").Upload} Upload */

export class Uploads {
  #summary = element("span", { role: "status" });
  #bar = element("progress", { max: 1, value: 0, "aria-label": "Uploads" });
  #failures = element("ul", { class: "failures" });
  #shownFailures = "";

  /**
   * @param {HTMLElement} root
   * @param {string | null} member
   */
  constructor(root, member) {
    this.root = root;
    this.queue = new UploadQueue(member, () => this.#show());
    root.replaceChildren(element("div", { class: "summary" }, this.#summary, this.#bar), this.#failures);
  }

  /** @param {readonly File[]} files */
  async add(files) {
    if (files.length) await withErrorToast(this.queue.add(files));
  }

  #show() {
    const { uploads, progress, finished } = this.queue;
    const failed = uploads.filter(({ state }) => state !== "waiting");
    const open = uploads.length - failed.length;
    this.root.hidden = !uploads.length;
    this.#bar.hidden = !open;
    const sent = [...progress.values()].reduce((sum, share) => sum + share, finished.length);
    this.#bar.value = sent / Math.max(1, open + finished.length);
    setText(this.#summary, open ? this.#progressText(open, finished.length) : failedText(failed.length));
    this.#showFailures(failed);
    if (!open && finished.length) this.#finish();
  }

  /**
   * @param {number} open
   * @param {number} done
   */
  #progressText(open, done) {
    if (!navigator.onLine) return `${formatCount(open, "file")} waiting for a connection`;
    const error = this.queue.uploads.find(({ state, error }) => state === "waiting" && error !== null)?.error;
    return `Adding ${done + 1} of ${done + open}${error ? `. ${error} It is tried again.` : ""}`;
  }

  /** @param {Upload[]} failed */
  #showFailures(failed) {
    const shown = JSON.stringify(failed.map(({ id, state, error }) => [id, state, error]));
    if (shown === this.#shownFailures) return;
    this.#shownFailures = shown;
    this.#failures.replaceChildren(...failed.map((upload) => element("li", {},
      element("span", { class: "file-name" }, isolate(upload.name)),
      element("span", { class: "dim" }, upload.error ?? ""),
      upload.state === "failed" ? button("Try again", () => void this.queue.retry(upload)) : null,
      button("Remove", () => void this.queue.remove(upload), { "aria-label": `Remove ${isolate(upload.name)}` }))));
  }

  #finish() {
    const added = this.queue.finished.filter(({ isNew }) => isNew).length;
    const known = this.queue.finished.length - added;
    this.queue.finished = [];
    const parts = [
      added ? `Added ${formatCount(added, "file")}.` : "",
      known ? `${formatCount(known, "file")} already in the library.` : "",
    ];
    showToast(parts.filter(Boolean).join(" "));
  }
}

/** @param {number} count */
function failedText(count) {
  return count === 1 ? "A file was not added" : `${formatCount(count, "file")} were not added`;
}
