/** Image elements that never show the picture that they showed before. */

import { element, setAttribute } from "../ui/dom.js";

/**
 * Create an image element for a frame that is reused.
 *
 * A browser paints the previous picture until the next one is loaded. The frame, which is the parent of the image, has
 * `data-picture`: loading, loaded or broken; the style sheet shows the image only when it is loaded.
 * @param {Record<string, string>} attributes
 */
export function createPicture(attributes) {
  const image = element("img", { decoding: "async", ...attributes });
  // The event may belong to the source before: the element itself knows whether its current source is loaded.
  image.addEventListener("load", () => setState(image, isLoaded(image) ? "loaded" : "loading"));
  image.addEventListener("error", () => setState(image, "broken"));
  return image;
}

/**
 * Show the picture at `url`, and nothing until it is loaded; null shows nothing.
 * @param {HTMLImageElement} image created by `createPicture`, in its frame
 * @param {string | null} url
 */
export function setPicture(image, url) {
  if (url === image.getAttribute("src") && url !== null) return;
  setAttribute(image, "src", url);
  setState(image, isLoaded(image) ? "loaded" : "loading");
}

/**
 * Return true if the picture of the current `src` is loaded.
 * @param {HTMLImageElement} image
 */
export function isLoaded(image) {
  return image.complete && image.naturalWidth > 0;
}

/**
 * @param {HTMLImageElement} image
 * @param {"loading" | "loaded" | "broken"} state
 */
function setState(image, state) {
  if (image.parentElement) setAttribute(image.parentElement, "data-picture", state);
}
