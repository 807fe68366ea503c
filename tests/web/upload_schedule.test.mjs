import assert from "node:assert/strict";
import { test } from "node:test";
import {
  afterFailure, nextUploads, requeued, UploadFailure,
} from "../../web/sploot_web/server/upload_schedule.js";

const NEW = { id: 1, member: "anna", name: "a.jpg", state: "waiting", attempts: 0, due_ms: 0, error: null };

test("a failed upload is tried again after 1, 2, 4, 8 and 16 seconds, then it has failed", () => {
  const delays = [];
  let upload = NEW;
  while (upload.state === "waiting") {
    upload = afterFailure(upload, new UploadFailure("no answer"), 1000);
    if (upload.state === "waiting") delays.push((upload.due_ms - 1000) / 1000);
  }
  assert.deepEqual(delays, [1, 2, 4, 8, 16]);
  assert.deepEqual([upload.state, upload.error, upload.attempts], ["failed", "no answer", 6]);
  assert.deepEqual(requeued(upload), NEW);
});

test("a refused file is not tried again, and a busy server is given the time it asks for", () => {
  assert.equal(afterFailure(NEW, new UploadFailure("too large", { isFinal: true }), 0).state, "refused");
  assert.equal(afterFailure(NEW, new UploadFailure("busy", { retryAfterS: 5 }), 0).due_ms, 5000);
});

test("uploads run in order, as many as may, and the next one is awaited", () => {
  const uploads = [1, 2, 3, 4, 5, 6].map((id) => ({ ...NEW, id, due_ms: id === 2 ? 700 : 0 }));
  const { due, waitMs } = nextUploads(uploads, new Set([1]), 3, 100);
  assert.deepEqual([due.map(({ id }) => id), waitMs], [[3, 4, 5], 600]);
  assert.equal(nextUploads([{ ...NEW, state: "failed" }], new Set(), 4, 0).waitMs, null);
});
