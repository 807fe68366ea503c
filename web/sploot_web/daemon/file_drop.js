/** Uploads files that the user drops, pastes or chooses to the daemon, which queues them. */

import { errorText, send } from "../ui/client.js";
import { byId, element, setText } from "../ui/dom.js";
import { filesFrom } from "../ui/dropped_files.js";
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

const picker = createPicker({ id: "picker", accept: "image/*,video/*" });
const folderPicker = createPicker({ id: "folder-picker", webkitdirectory: true });

/** @param {Record<string, string | boolean>} attributes */
function createPicker(attributes) {
  const created = element("input", { type: "file", multiple: true, hidden: true, ...attributes });
  created.addEventListener("change", () => {
    const files = [...(created.files ?? [])].filter(({ webkitRelativePath }) => !/(^|\/)\./.test(webkitRelativePath));
    void uploadFiles(files);
    created.value = ""; // so that choosing the same file again fires "change"
  });
  document.body.append(created);
  return created;
}

/** Open the dialog of the browser that chooses files to add. */
export function chooseFiles() {
  picker.click();
}

/** Open the dialog of the browser that chooses a folder to add with all that is in it. */
export function chooseFolder() {
  folderPicker.click();
}

/** Accept files dropped or pasted anywhere in the window, and from the file picker behind the Add button. */
export function acceptFiles() {
  byId("add").addEventListener("click", chooseFiles);
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
