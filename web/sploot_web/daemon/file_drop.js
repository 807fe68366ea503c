/** Uploads the files that a person adds on the page to the daemon, which queues them. */

import { errorText, send } from "../ui/client.js";
import { byId, setText } from "../ui/dom.js";
import { createPicker } from "../ui/file_input.js";
import { isolate, percentEncode } from "../ui/filename.js";
import { formatCount } from "../ui/format.js";
import { showToast } from "../ui/toast.js";

const FILES_MAX = 10_000; // in one drop
const CONCURRENT_UPLOADS = 2; // of the six connections that a browser opens to a host
const TOAST_MS = 6000;
const ERROR_TOAST_MS = 12_000;

/** @typedef {{name: string, outcome: string, id: number | null, detail: string | null}} UploadReply */

/**
 * Upload files, a few at a time, and show the result.
 * @param {File[]} files
 */
export async function uploadFiles(files) {
  if (files.length === 0) return showToast("No files found.");
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
  const error = errors.length ? `Not added: ${errors[0]}${more}` : "";
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
    return reply.detail;
  } catch (error) {
    return `${isolate(file.name)}: ${errorText(error)}`;
  }
}

const folderPicker = createPicker({ id: "folder-picker", webkitdirectory: true }, (files) => {
  void uploadFiles(files.filter(({ webkitRelativePath }) => !/(^|\/)\./.test(webkitRelativePath)));
});

/** Open the dialog of the browser that chooses a folder to add with all that is in it. */
export function chooseFolder() {
  folderPicker.click();
}
