/** Where the files are, in people's words: the daemon knows the home and the folder of the files that a page sent. */

import { get } from "../ui/client.js";
import { baseName, displayPath, isolate, parentFolder, setHome } from "../ui/filename.js";

let home = "";
let browserUploads = "";

/** Ask the daemon for the places, once. Without an answer paths are shown in full. */
export async function loadPlaces() {
  /** @type {import("./protocol.js").Settings | null} */
  const reply = await get("/v1/settings").catch(() => null);
  if (!reply) return;
  home = reply.home;
  setHome(home);
  browserUploads = reply.browser_uploads;
}

/**
 * Return true if a file was dropped on the page, pasted or chosen there.
 * @param {string} path
 */
export function isFromBrowser(path) {
  return browserUploads !== "" && path.startsWith(`${browserUploads}/`);
}

/**
 * Return where a file is, in people's words.
 * @param {string} path
 */
export function describePlace(path) {
  return isFromBrowser(path) ? "Added on this page" : displayPath(path);
}

/**
 * Return the name of the folder of a file.
 * @param {string} path
 */
export function folderName(path) {
  return isFromBrowser(path) ? "added here" : isolate(baseName(parentFolder(path)));
}

/**
 * Return a path that the user typed with `~` in place of the home.
 * @param {string} path
 */
export function expandHome(path) {
  return path === "~" || path.startsWith("~/") ? home + path.slice(1) : path;
}
