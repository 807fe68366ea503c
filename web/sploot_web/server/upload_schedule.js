/** When an upload is tried again. Pure. */

const RETRY_S = [1, 2, 4, 8, 16];

/** @typedef {import("./upload_store.js").Upload} Upload */

/** A failed upload. `isFinal`: trying again does not help, because the file itself is refused. */
export class UploadFailure extends Error {
  /**
   * @param {string} message
   * @param {{isFinal?: boolean, retryAfterS?: number}} [options] `retryAfterS` as the server asked for it
   */
  constructor(message, { isFinal = false, retryAfterS = 0 } = {}) {
    super(message);
    this.isFinal = isFinal;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * Return the upload after a failure: waiting for its next attempt, failed after the last one, or refused for good.
 * @param {Upload} upload
 * @param {UploadFailure} failure
 * @param {number} nowMs
 * @returns {Upload}
 */
export function afterFailure(upload, failure, nowMs) {
  const failed = { ...upload, attempts: upload.attempts + 1, error: failure.message };
  if (failure.isFinal) return { ...failed, state: "refused" };
  const delayS = RETRY_S[upload.attempts];
  if (delayS === undefined) return { ...failed, state: "failed" };
  return { ...failed, due_ms: nowMs + 1000 * Math.max(delayS, failure.retryAfterS) };
}

/**
 * Return the upload as it was added, to be tried now.
 * @param {Upload} upload
 * @returns {Upload}
 */
export function requeued(upload) {
  return { ...upload, state: "waiting", attempts: 0, due_ms: 0, error: null };
}

/**
 * Return the uploads to begin now, oldest first, and the time until the next one is due, null if none will be.
 * @param {readonly Upload[]} uploads
 * @param {ReadonlySet<number>} running ids of those in flight
 * @param {number} free how many more may run
 * @param {number} nowMs
 */
export function nextUploads(uploads, running, free, nowMs) {
  const waiting = uploads.filter(({ id, state }) => state === "waiting" && !running.has(id));
  const due = waiting.filter((upload) => upload.due_ms <= nowMs).slice(0, free);
  const later = waiting.filter((upload) => upload.due_ms > nowMs).map((upload) => upload.due_ms - nowMs);
  return { due, waitMs: later.length ? Math.min(...later) : null };
}
