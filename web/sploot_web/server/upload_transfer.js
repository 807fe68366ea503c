/** Sends one file to the library: not at all if it has it, in one request, or in chunks that survive a broken connection. */

import { UploadFailure } from "./upload_schedule.js";

const HASHED_BYTES_MAX = 256_000_000; // held in memory while it is hashed
const SINGLE_BYTES_MAX = 4_000_000;
const CHUNK_BYTES = 2_000_000;
const TUS = { "Tus-Resumable": "1.0.0" };
const RESUMABLE = "/api/upload/resumable";
const FINAL = new Set([400, 403, 410, 413, 415, 422]); // the file itself is refused
const CREATED = 201;
const DUPLICATE = 409; // of POST /api/upload

/** @typedef {import("./upload_store.js").Upload} Upload */
/** @typedef {{status: number, header: (name: string) => string | null, json: () => any}} Reply */

/**
 * Upload a file; resolves to true if it is new to the library. Rejects with an UploadFailure.
 * @param {Upload} upload
 * @param {object} handlers
 * @param {(share: number) => void} handlers.onProgress from 0 to 1
 * @param {(url: string | null) => Promise<void>} handlers.onResumeUrl stores where a large file continues
 */
export async function transfer(upload, handlers) {
  const checksum = await sha256(upload.content);
  if (checksum && (await isInLibrary(checksum))) return false;
  if (upload.content.size > SINGLE_BYTES_MAX) return sendChunks(upload, checksum, handlers);
  const form = new FormData();
  form.append("file", upload.content, upload.name);
  const reply = await request("POST", "/api/upload", form, {}, handlers.onProgress);
  if (reply.status !== CREATED && reply.status !== DUPLICATE) throw failure(reply);
  return reply.status === CREATED;
}

/**
 * Return the SHA-256 in hex; null for a huge file, and without TLS, where browsers offer none: the server then compares
 * the bytes.
 * @param {Blob} content
 */
async function sha256(content) {
  if (!crypto.subtle || content.size > HASHED_BYTES_MAX) return null;
  let bytes;
  try {
    bytes = await content.arrayBuffer();
  } catch {
    throw new UploadFailure("This browser cannot read the file any more. Add it again.", { isFinal: true });
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} checksum */
async function isInLibrary(checksum) {
  const body = new Blob([JSON.stringify({ checksum })], { type: "application/json" });
  const reply = await request("POST", "/api/upload/check", body);
  if (reply.status !== 200) throw failure(reply);
  return reply.json().exists === true;
}

/**
 * Upload by tus 1.0, from the offset that the server has.
 * @param {Upload} upload
 * @param {string | null} checksum
 * @param {{onProgress: (share: number) => void, onResumeUrl: (url: string | null) => Promise<void>}} handlers
 */
async function sendChunks({ content, name, resume_url }, checksum, { onProgress, onResumeUrl }) {
  const position = resume_url ? await resume(resume_url) : null;
  if (resume_url && !position) await onResumeUrl(null);
  let { url, offset, outcome } = position ?? (await create(content, name, checksum));
  if (url !== resume_url) await onResumeUrl(url);
  while (outcome === null) {
    const start = offset;
    const chunk = content.slice(start, start + CHUNK_BYTES, "application/offset+octet-stream");
    const headers = { ...TUS, "Upload-Offset": String(start), "Content-Type": "application/offset+octet-stream" };
    const reply = await request("PATCH", url, chunk, headers,
      (share) => onProgress((start + share * chunk.size) / content.size));
    if (reply.status !== 204) throw failure(reply);
    ({ offset, outcome } = positionOf(reply, url));
  }
  return outcome === "false";
}

/**
 * Return the position of an upload that the server has begun; null if it has expired.
 * @param {string} url
 */
async function resume(url) {
  const reply = await request("HEAD", url, null, TUS);
  if (reply.status === 404 || reply.status === 410) return null;
  if (reply.status !== 200) throw failure(reply);
  return positionOf(reply, url);
}

/**
 * @param {Blob} content
 * @param {string} name
 * @param {string | null} checksum
 */
async function create(content, name, checksum) {
  const metadata = { filename: name, ...(checksum ? { checksum } : {}) };
  const encoded = Object.entries(metadata).map(([key, value]) => `${key} ${base64(value)}`).join(",");
  const headers = { ...TUS, "Upload-Length": String(content.size), "Upload-Metadata": encoded };
  const reply = await request("POST", RESUMABLE, null, headers);
  const url = reply.header("location");
  if (reply.status !== CREATED || !url) throw failure(reply);
  return { url, offset: 0, outcome: null };
}

/**
 * @param {Reply} reply
 * @param {string} url
 */
function positionOf(reply, url) {
  return { url, offset: Number(reply.header("upload-offset")), outcome: reply.header("sploot-duplicate") };
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/**
 * Send a request. `fetch` reports no progress of what it sends, so this is the older interface.
 * @param {string} method
 * @param {string} url
 * @param {Blob | FormData | null} body
 * @param {Record<string, string>} [headers]
 * @param {(share: number) => void} [onProgress]
 * @returns {Promise<Reply>}
 */
function request(method, url, body, headers = {}, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    http.open(method, url);
    for (const [name, value] of Object.entries({ ...headers, "X-Sploot-UI": "1" })) http.setRequestHeader(name, value);
    http.upload.addEventListener("progress", ({ loaded, total }) => onProgress(total ? loaded / total : 0));
    http.addEventListener("load", () => resolve({
      status: http.status,
      header: (name) => http.getResponseHeader(name),
      json: () => JSON.parse(http.responseText),
    }));
    http.addEventListener("error", () => reject(new UploadFailure("The library cannot be reached.")));
    http.send(body);
  });
}

/** @param {Reply} reply */
function failure(reply) {
  let message = `The library answered with status ${reply.status}.`;
  try {
    message = `${reply.json().error}.`;
  } catch {
    // A proxy answered, not the library.
  }
  const retryAfterS = Number(reply.header("retry-after")) || 0;
  return new UploadFailure(message, { isFinal: FINAL.has(reply.status), retryAfterS });
}
