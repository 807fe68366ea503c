/** Files that are dropped on the page, chosen or pasted, on their way to the daemon, which queues them. */

import { change, sentenceOf } from "./client.js";
import { byId, element, write } from "./element.js";
import { isolated, quoted } from "./names.js";
import { say } from "./say.js";
import { count } from "./words.js";

const FILES_MAX = 10_000; // in one go
const AT_ONCE = 2; // of the browser's six connections
const DEPTH_MAX = 32;

/** @typedef {{name: string, outcome: string, id: number | null, reason: string | null}} Dropped */

/**
 * Everything that was dropped, folders with all that lies in them; names that begin with a dot are left out.
 * @param {DataTransfer} data
 */
async function filesOf(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null);
  /** @type {File[]} */
  const files = [];
  for (const entry of entries) await gather(entry, files, 0);
  return files.length ? files : [...data.files];
}

/**
 * @param {FileSystemEntry} entry
 * @param {File[]} files
 * @param {number} depth
 */
async function gather(entry, files, depth) {
  if (files.length >= FILES_MAX || depth > DEPTH_MAX || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    files.push(await new Promise((done, failed) => file.file(done, failed)));
  } else {
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    for (let some = await read(reader); some.length; some = await read(reader)) {
      for (const each of some) await gather(each, files, depth + 1);
    }
  }
}

/**
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function read(reader) {
  return new Promise((done, failed) => reader.readEntries(done, failed));
}

/**
 * Send them, a few at a time, and say how it went.
 * @param {File[]} files
 */
export async function sendAll(files) {
  if (files.length === 0) return;
  const left = files.slice(0, FILES_MAX).reverse();
  /** @type {string[]} */
  const troubles = [];
  let done = 0;
  const shown = byId("dropping");
  const hand = async () => {
    for (let file = left.pop(); file; file = left.pop()) {
      const trouble = await send(file);
      if (trouble) troubles.push(trouble);
      done += 1;
      write(shown, `Handing over ${done} of ${files.length} ...`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
  write(shown, "");
  const queued = done - troubles.length;
  const told = queued ? `${count(queued, "file")} queued. ` : "";
  const more = troubles.length > 1 ? ` (and ${troubles.length - 1} more)` : "";
  say(`${told}${troubles.length ? troubles[0] + more : ""}`.trim(), { ms: troubles.length ? 12_000 : 6000 });
}

/**
 * Why a file was not queued, null when it was.
 * @param {File} file
 */
async function send(file) {
  try {
    /** @type {Dropped} */
    const answer = await change("PUT", `/v1/drop?name=${quoted(file.name)}`, file);
    return answer.reason ? `${isolated(file.name)} was not queued: ${answer.reason}` : null;
  } catch (error) {
    return `${isolated(file.name)} was not queued: ${sentenceOf(error)}`;
  }
}

/** Take files from wherever on the page they are dropped or pasted, and from the file picker that `add` opens. */
export function takeFiles() {
  const picker = element("input", { type: "file", multiple: true, accept: "image/*,video/*", hidden: true, id: "picker" });
  picker.addEventListener("change", () => {
    void sendAll([...(picker.files ?? [])]);
    picker.value = "";
  });
  document.body.append(picker);
  byId("add").addEventListener("click", () => picker.click());
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    void filesOf(event.dataTransfer).then((files) => (files.length ? sendAll(files) : say("There is no file in what was dropped.")));
  });
  addEventListener("paste", (event) => void sendAll([...(event.clipboardData?.files ?? [])]));
}
