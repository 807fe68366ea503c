/** A page of the library over the wall: trash, tags, duplicates, links. */

import { altText, thumbnailUrl } from "./asset.js";
import { createPicture, setPicture } from "./picture.js";
import { button, element } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";

/** @typedef {import("./asset.js").Asset} Asset */

/**
 * Open a page that covers the window. Escape and its button close it.
 * @param {string} title
 * @param {...(Node | null)} children
 */
export function openPage(title, ...children) {
  const close = button("×", () => dialog.close(), { class: "close", "aria-label": "Close" });
  const head = element("div", { class: "title" }, element("h2", {}, title), close);
  const dialog = element("dialog", { class: "library-page", "aria-label": title }, head, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Create a card with a picture that can be chosen.
 * @param {Asset} asset
 * @param {string} note the second line
 * @param {(() => void) | null} onChoose null for a card that only shows
 */
export function createCard(asset, note, onChoose) {
  const picture = createPicture({ alt: altText(asset), loading: "lazy" });
  const frame = element("span", { class: "frame" }, picture);
  const lines = [element("span", { class: "name" }, isolate(asset.name)), element("span", { class: "dim" }, note)];
  const card = onChoose
    ? button("", onChoose, { class: "card-picture", "aria-pressed": "false" })
    : element("div", { class: "card-picture" });
  card.append(frame, ...lines);
  setPicture(picture, thumbnailUrl(asset));
  return card;
}
