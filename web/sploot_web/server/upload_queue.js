/** The durable upload queue of this browser: at most four at a time, retried, continued after a reload or a pause. */

import { afterFailure, nextUploads, requeued, UploadFailure } from "./upload_schedule.js";
import { addUpload, listUploads, putUpload, removeUpload } from "./upload_store.js";
import { transfer } from "./upload_transfer.js";

const CONCURRENT_UPLOADS = 4;
const LOCK = "sploot-uploads";

/** @typedef {import("./upload_store.js").Upload} Upload */

export class UploadQueue {
  /** @type {Upload[]} */
  uploads = [];
  /** @type {Map<number, number>} sent share, from 0 to 1, of each upload in flight */
  progress = new Map();
  /** @type {{isNew: boolean}[]} what this page has uploaded since the queue was empty */
  finished = [];
  #timer = 0;
  #isOwner = false; // of several tabs with this queue, one uploads
  #tabs = new BroadcastChannel(LOCK);

  /**
   * @param {string | null} member
   * @param {() => void} onChange
   */
  constructor(member, onChange) {
    this.member = member;
    this.onChange = onChange;
    this.#tabs.addEventListener("message", () => void this.#read());
    addEventListener("online", () => void this.retryFailed());
    this.#changed();
    // Without TLS browsers have no locks: two tabs may then send the same file, and the library takes it once.
    void (navigator.locks ? navigator.locks.request(LOCK, () => this.#own()) : this.#own());
  }

  /** @param {readonly File[]} files */
  async add(files) {
    for (const file of files) await addUpload(file, this.member);
    this.#changed();
  }

  /** Try at once what waits for its next attempt or has had all of them: there may be a connection again. */
  async retryFailed() {
    for (const upload of await listUploads(this.member)) {
      if (upload.state !== "refused" && upload.error !== null && !this.progress.has(upload.id)) {
        await putUpload(requeued(upload));
      }
    }
    this.#changed();
  }

  /** @param {Upload} upload */
  async retry(upload) {
    await putUpload(requeued(upload));
    this.#changed();
  }

  /** @param {Upload} upload */
  async remove(upload) {
    await removeUpload(upload.id);
    this.#changed();
  }

  /** Upload until this tab closes. */
  async #own() {
    this.#isOwner = true;
    await this.retryFailed();
    await new Promise(() => {});
  }

  #changed() {
    this.#tabs.postMessage(null);
    void this.#read();
  }

  async #read() {
    this.uploads = await listUploads(this.member);
    this.#begin();
    this.onChange();
  }

  #begin() {
    if (!this.#isOwner || !navigator.onLine) return;
    const running = new Set(this.progress.keys());
    const { due, waitMs } = nextUploads(this.uploads, running, CONCURRENT_UPLOADS - running.size, Date.now());
    for (const upload of due) void this.#upload(upload);
    clearTimeout(this.#timer);
    if (waitMs !== null) this.#timer = setTimeout(() => this.#begin(), waitMs);
  }

  /** @param {Upload} upload */
  async #upload(upload) {
    this.progress.set(upload.id, 0);
    let current = upload;
    try {
      const isNew = await transfer(upload, {
        onProgress: (share) => {
          this.progress.set(upload.id, share);
          this.onChange();
        },
        onResumeUrl: async (url) => {
          current = { ...current, resume_url: url };
          await putUpload(current);
        },
      });
      await removeUpload(upload.id);
      this.finished.push({ isNew });
    } catch (error) {
      const failure = error instanceof UploadFailure ? error : new UploadFailure(String(error));
      await putUpload(afterFailure(current, failure, Date.now()));
    }
    this.progress.delete(upload.id);
    this.#changed();
  }
}
