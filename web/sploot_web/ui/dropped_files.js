/** The files of a drop, those in folders included. */

const FILES_MAX = 10_000; // in one drop
const DEPTH_MAX = 32;

/**
 * Return all dropped files, those in folders included; names that begin with a dot are left out.
 * @param {DataTransfer} data
 */
export async function filesFrom(data) {
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
