/**
 * Service worker: opens the page without a connection, with the pictures that were seen, and takes what other apps
 * share to it. It stores the files of the page, lists and thumbnails, and never an original.
 */

import { addUpload } from "./upload_store.js";

const SHELL = "shell";
const LISTS = "lists";
const THUMBNAILS = "thumbnails";
/** @type {Record<string, number>} */
const ENTRIES_MAX = { [LISTS]: 60, [THUMBNAILS]: 2000 };
const LIST = /^\/v1\/(session|library|library\/tags)$/;
const THUMBNAIL = /^\/v1\/library\/[^/]+\/thumbnail$/;
const SHARE_TARGET = "/share-target";

const worker = /** @type {any} */ (self); // the compiler knows the types of a page only

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  /** @type {Request} */
  const request = event.request;
  const { origin, pathname } = new URL(request.url);
  if (origin !== location.origin) return;
  if (request.method === "POST" && pathname === SHARE_TARGET) event.respondWith(receiveShare(request));
  if (request.method !== "GET") return;
  if (pathname === "/" || pathname.startsWith("/static/")) event.respondWith(fromNetwork(request, SHELL));
  else if (THUMBNAIL.test(pathname)) event.respondWith(fromCache(request, THUMBNAILS));
  else if (LIST.test(pathname)) event.respondWith(fromNetwork(request, LISTS));
});

/**
 * Add the files that another app shared to the upload queue, and show the page.
 * @param {Request} request
 */
async function receiveShare(request) {
  const files = (await request.formData()).getAll("images");
  for (const file of files) if (file instanceof File && file.size) await addUpload(file, null);
  return Response.redirect("/", 303);
}

/**
 * Answer from the network; without a connection, with the last response.
 * @param {Request} request
 * @param {string} cacheName
 */
async function fromNetwork(request, cacheName) {
  try {
    const response = await fetch(request);
    if (response.ok) await store(cacheName, request, response.clone());
    return response;
  } catch (error) {
    const cached = await caches.match(request, { cacheName });
    if (!cached) throw error;
    return cached;
  }
}

/**
 * Answer from the cache: the thumbnail of an asset never changes.
 * @param {Request} request
 * @param {string} cacheName
 */
async function fromCache(request, cacheName) {
  const cached = await caches.match(request, { cacheName });
  if (cached) return cached;
  const response = await fetch(request);
  // Where no thumbnail can be rendered the original comes instead, and that is not to be stored.
  if (response.ok && response.headers.get("content-type") === "image/webp" && response.headers.get("content-disposition") === null) {
    await store(cacheName, request, response.clone());
  }
  return response;
}

/**
 * @param {string} cacheName
 * @param {Request} request
 * @param {Response} response
 */
async function store(cacheName, request, response) {
  const cache = await caches.open(cacheName);
  await cache.put(request, response);
  const keys = await cache.keys(); // the oldest first
  for (const old of keys.slice(0, Math.max(0, keys.length - (ENTRIES_MAX[cacheName] ?? Infinity)))) await cache.delete(old);
}
