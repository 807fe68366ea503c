/** Gets a picture out of the library: copy, download, open and drag. */

import { isVideo, originalUrl, thumbnailUrl } from "./asset.js";
import { send } from "../ui/client.js";
import { element } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/** @typedef {import("./asset.js").Asset} Asset */

const FRAME_PX = 1024; // of a video on the clipboard

/** @type {Record<string, (asset: Asset) => void>} */
const ACTIONS = { d: download, o: openOriginal };

/**
 * Download or open a picture by key: d, o. Returns true if the key is one of them.
 * @param {string} key
 * @param {Asset} asset
 */
export function takeOut(key, asset) {
  const action = ACTIONS[key];
  action?.(asset);
  return action !== undefined;
}

/**
 * Copy a picture in full size as PNG, the only image format that every browser accepts on the clipboard. Returns
 * whether it is copied.
 * @param {Asset} asset
 */
export async function copyPicture(asset) {
  const original = fetchPicture(asset);
  // Safari allows clipboard.write only within the click or key: pass the promise instead of awaiting the PNG first.
  const item = new ClipboardItem({ "image/png": original.then(toPng) });
  if ((await withErrorToast(navigator.clipboard.write([item]))) === null) return false;
  if (isVideo(asset)) showToast("Copied the first frame; download the video to keep all of it.");
  else if (await isAnimated(await original)) showToast("Copied the first frame; drag it to keep the animation.");
  else showToast("Image copied.");
  return true;
}

/**
 * Download the original file. The server's Content-Disposition names it; without one it has the name of the asset.
 * @param {Asset} asset
 */
export function download(asset) {
  element("a", { href: originalUrl(asset), download: asset.name }).click();
  showToast(`Downloading ${isolate(asset.name)}.`);
}

/**
 * Open the original in a new tab.
 * @param {Asset} asset
 */
export function openOriginal(asset) {
  window.open(originalUrl(asset), "_blank", "noopener");
}

/**
 * Let a drag that leaves the browser drop the original file under its name. Chromium reads DownloadURL as
 * `mime:name:url`, so the name must not contain a colon.
 * @param {DragEvent} event
 * @param {Asset} asset
 */
export function dragOriginal(event, asset) {
  const name = asset.name.replace(/[:/\\\p{C}]/gu, "_");
  const url = new URL(originalUrl(asset), location.href).href;
  event.dataTransfer?.setData("DownloadURL", `${asset.mime ?? "application/octet-stream"}:${name}:${url}`);
}

/**
 * Copy text.
 * @param {string} text
 * @param {string} what for the message: Text, Path, Link
 */
export async function copyText(text, what) {
  if ((await withErrorToast(navigator.clipboard.writeText(text))) !== null) showToast(`${what} copied.`);
}

/**
 * Show the file in the file manager of this machine.
 * @param {Asset} asset
 */
export async function showInFolder({ id }) {
  await withErrorToast(send("POST", `/v1/library/${encodeURIComponent(id)}/reveal`));
}

/** @param {Asset} asset */
async function fetchPicture(asset) {
  const response = await fetch(isVideo(asset) ? thumbnailUrl(asset, FRAME_PX) : originalUrl(asset));
  if (!response.ok) throw new Error(`The original of ${isolate(asset.name)} cannot be loaded.`);
  return response.blob();
}

/** @param {Blob} blob */
async function toPng(blob) {
  const bitmap = await createImageBitmap(blob); // of an animation the first frame
  const canvas = element("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  return new Promise((/** @type {(png: Blob) => void} */ resolve, reject) =>
    canvas.toBlob((png) => (png ? resolve(png) : reject(new Error("The picture cannot be copied."))), "image/png"));
}

/** @param {Blob} blob */
async function isAnimated(blob) {
  if (typeof ImageDecoder === "undefined") return blob.type === "image/gif"; // Safari
  const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type: blob.type });
  try {
    await decoder.tracks.ready;
    return decoder.tracks.selectedTrack?.animated ?? false;
  } finally {
    decoder.close();
  }
}
