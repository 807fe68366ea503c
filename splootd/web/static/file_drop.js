/** Uploads files that the user drops, pastes or chooses to the daemon, which queues them. */

import { errorText, send } from "./client.js";
import { byId, element, setText } from "./dom.js";
import { isolate, percentEncode } from "./filename.js";
import { formatCount } from "./format.js";
import { showToast } from "./toast.js";

const FILES_MAX = 10_000; // in one drop
const CONCURRENT_UPLOADS = 2; // of the six connections that a browser opens to a host
const DEPTH_MAX = 32;
const TOAST_MS = 6000;
const ERROR_TOAST_MS = 12_000;

/** @typedef {{name: string, outcome: string, id: number | null, detail: string | null}} UploadReply */

/**
 * Return all dropped files, those in folders included; names that begin with a dot are left out.
 * @param {DataTransfer} data
 */
async function filesFrom(data) {
  // Before the first await: the browser empties `data.items` when the event handler returns.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null);
  /** @type {File[]} */
  const files = [];
  for (const entry of entries) await collectFiles(entry, files, 0);
  return files.length ? files : [...data.files];
}

/**
 * @param {FileSystemEntry} entry
 * @param {File[]} files
 * @param {number} depth
 */
async function collectFiles(entry, files, depth) {
  if (files.length >= FILES_MAX || depth > DEPTH_MAX || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    files.push(await new Promise((resolve, reject) => file.file(resolve, reject)));
  } else {
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    // readEntries returns at most 100 entries a call in Chromium; an empty list ends the folder.
    for (let entries = await readEntries(reader); entries.length; entries = await readEntries(reader)) {
      for (const each of entries) await collectFiles(each, files, depth + 1);
    }
  }
}

/**
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function readEntries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

/**
 * Upload files, a few at a time, and show the result.
 * @param {File[]} files
 */
export async function uploadFiles(files) {
  if (files.length === 0) return;
  const left = files.slice(0, FILES_MAX).reverse();
  /** @type {string[]} */
  const errors = [];
  let done = 0;
  const progress = byId("upload-progress");
  const uploadNext = async () => {
    for (let file = left.pop(); file; file = left.pop()) {
      const error = await uploadFile(file);
      if (error) errors.push(error);
      done += 1;
      setText(progress, `Adding ${done} of ${files.length} ...`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_UPLOADS }, uploadNext));
  setText(progress, "");
  const queued = done - errors.length;
  const added = queued ? `Added ${formatCount(queued, "file")}. ` : "";
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  const error = errors.length ? errors[0] + more : "";
  showToast(`${added}${error}`.trim(), { ms: error ? ERROR_TOAST_MS : TOAST_MS });
}

/**
 * Upload one file. Returns an error message, or null if the file was queued.
 * @param {File} file
 */
async function uploadFile(file) {
  try {
    /** @type {UploadReply} */
    const reply = await send("PUT", `/v1/upload?name=${percentEncode(file.name)}`, file);
    return reply.detail ? `${isolate(file.name)} was not added: ${reply.detail}` : null;
  } catch (error) {
    return `${isolate(file.name)} was not added: ${errorText(error)}`;
  }
}

/** Accept files dropped or pasted anywhere in the window, and from the file picker behind the Add button. */
export function acceptFiles() {
  const picker = element("input", {
    type: "file", multiple: true, accept: "image/*,video/*", hidden: true, id: "picker",
  });
  picker.addEventListener("change", () => {
    void uploadFiles([...(picker.files ?? [])]);
    picker.value = ""; // so that choosing the same file again fires "change"
  });
  document.body.append(picker);
  byId("add").addEventListener("click", () => picker.click());
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // without this the browser opens the dropped file
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    void filesFrom(event.dataTransfer).then((files) =>
      files.length ? uploadFiles(files) : showToast("No files found in the drop."));
  });
  addEventListener("paste", (event) => void uploadFiles([...(event.clipboardData?.files ?? [])]));
}
