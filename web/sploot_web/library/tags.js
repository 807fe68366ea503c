/** All tags of the library: show the pictures of one, rename it, delete it. */

import { openPage } from "./page_dialog.js";
import { fetchTags } from "./tag_suggestions.js";
import { errorText, send } from "../ui/client.js";
import { confirmDialog, openDialog } from "../ui/dialog.js";
import { button, element, setText } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { formatCount } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

const TAG_CHARS_MAX = 50;

/** @typedef {import("./tag_suggestions.js").TagCount} TagCount */

/**
 * Ask for a new name of a tag and rename it. Resolves to the tag that the pictures have now; null if the user cancels.
 * @param {{id: string, name: string}} tag
 * @returns {Promise<{id: string, name: string} | null>}
 */
export function renameTag(tag) {
  return new Promise((resolve) => {
    const input = element("input", { type: "text", value: tag.name, maxlength: TAG_CHARS_MAX, "aria-label": "New name", required: true });
    const form = element("form", { class: "rename" }, input,
      element("div", { class: "actions" }, button("Cancel", () => dialog.close()), element("button", { class: "primary" }, "Rename")));
    /** @type {{id: string, name: string} | null} */
    let renamed = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const path = `/v1/library/tags/${encodeURIComponent(tag.id)}`;
      /** @type {{tag: {id: string, name: string}} | null} */
      const reply = await withErrorToast(send("PATCH", path, { name: input.value.trim() }));
      if (!reply) return;
      renamed = reply.tag;
      showToast(renamed.id === tag.id ? `Renamed to '${renamed.name}'.` : `Joined with '${renamed.name}'.`);
      dialog.close();
    });
    const dialog = openDialog(`Rename '${isolate(tag.name)}'`, form);
    dialog.addEventListener("close", () => resolve(renamed));
    input.select();
  });
}

/**
 * Delete a tag after a question. Resolves to true if it is deleted.
 * @param {TagCount} tag
 */
export async function deleteTag({ id, name, count }) {
  const details = `${formatCount(count, "picture")} will no longer have it. The pictures stay.`;
  if (!(await confirmDialog(`Delete the tag '${isolate(name)}'?`, "Delete", details))) return false;
  return (await withErrorToast(send("DELETE", `/v1/library/tags/${encodeURIComponent(id)}`))) !== null;
}

export class Tags {
  #message = element("p", { class: "dim", role: "status" });
  #list = element("ul", { class: "tags" });

  /**
   * @param {{canEdit: boolean}} options
   * @param {(tag: TagCount) => void} onShow
   * @param {() => void} onChange
   */
  constructor({ canEdit }, onShow, onChange) {
    this.canEdit = canEdit;
    this.onShow = onShow;
    this.onChange = onChange;
    this.page = openPage("Tags",
      element("div", { class: "bar" }, this.#message), element("div", { class: "page-body" }, this.#list));
    void this.#load();
  }

  async #load() {
    try {
      const tags = await fetchTags();
      setText(this.#message, tags.length ? formatCount(tags.length, "tag") : "No picture has a tag.");
      this.#list.replaceChildren(...tags.map((tag) => this.#createRow(tag)));
    } catch (error) {
      setText(this.#message, errorText(error));
    }
  }

  /** @param {TagCount} tag */
  #createRow(tag) {
    const show = button(isolate(tag.name), () => {
      this.page.close();
      this.onShow(tag);
    }, { class: "link" });
    const after = async (/** @type {Promise<unknown>} */ work) => {
      if (!(await work)) return;
      this.onChange();
      await this.#load();
    };
    const edit = this.canEdit
      ? [
        button("Rename", () => void after(renameTag(tag)), { "aria-label": `Rename ${tag.name}` }),
        button("Delete", () => void after(deleteTag(tag)), { class: "danger", "aria-label": `Delete ${tag.name}` }),
      ]
      : [];
    return element("li", {}, show, element("span", { class: "dim" }, formatCount(tag.count, "picture")), element("span", { class: "space" }), ...edit);
  }
}
