/** The settings of the configuration file that the page may change, as form fields; each is saved when it changes. */

import { send, Problem } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { element } from "../ui/dom.js";
import { capitalize } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/**
 * A field: a menu of `choices` by value, a text with a `hint`, or checkboxes that say `all` while none is chosen.
 * @typedef {{key: string, label: string, choices?: Record<string, string>, all?: string, hint?: string}} Field
 */

/** @typedef {import("./protocol.js").Setting} Setting */

/** @type {Field[]} */
export const FIELDS = [
  {
    key: "bandwidth_limit",
    label: "Upload limit",
    hint: "500k or 2M (bytes a second), a timetable such as 08:00-23:00=500k,else=none, or empty for none",
  },
  { key: "connections", label: "Connections", choices: { 1: "1", 2: "2", 3: "3", 4: "4" } },
  {
    key: "on_metered_network",
    label: "On a metered network",
    choices: { pause: "Pause uploads", send: "Continue uploads" },
  },
  { key: "send_file_names", label: "File names", choices: { yes: "Kept by the library", no: "Stay on this computer" } },
  {
    key: "library_types",
    label: "File types",
    choices: {
      "image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP", "image/gif": "GIF", "image/avif": "AVIF",
      "image/heic": "HEIC", "image/heif": "HEIF", "video/mp4": "MP4 video", "video/quicktime": "MOV video",
      "video/webm": "WebM video",
    },
    all: "All that this computer can show",
    hint: "What the library on this computer accepts",
  },
  {
    key: "desktop_notifications",
    label: "Notifications",
    choices: { auto: "If this is a desktop", yes: "On", no: "Off" },
  },
];

/**
 * Create the form field of a setting.
 * @param {Field} field
 * @param {Setting} setting
 */
export function createField(field, setting) {
  return field.all ? createCheckboxes(field, setting) : createInput(field, setting);
}

/**
 * @param {Field} field
 * @param {Setting} setting
 */
function createInput({ key, label, choices, hint }, { value, source }) {
  const id = `setting-${key}`;
  const attributes = { id, disabled: source !== null, "aria-describedby": `${id}-hint` };
  const input = choices
    ? element("select", attributes, ...Object.entries(choices).map(([name, text]) =>
      element("option", { value: name, selected: name === value }, text)))
    : element("input", { ...attributes, type: "text", value, maxlength: 400, autocomplete: "off" });
  input.addEventListener("change", () => {
    void changeSetting(key, input.value.trim()).then((isSaved) => {
      if (!isSaved) input.value = value;
    });
  });
  return element("div", { class: "field" }, element("label", { for: id }, label), input, createHint(id, hint, source));
}

/**
 * Create checkboxes of the values that a list may contain, and one for the empty list.
 * @param {Field} field
 * @param {Setting} setting
 */
function createCheckboxes({ key, label, choices, all, hint }, { value, choices: values, source }) {
  const id = `setting-${key}`;
  const boxes = ["", ...values].map((each) =>
    element("input", { type: "checkbox", value: each, disabled: source !== null }));
  let saved = value;
  const show = (/** @type {string} */ list) =>
    boxes.forEach((box) => (box.checked = list.split(",").includes(box.value)));
  const group = element("div", { class: "checks", role: "group", "aria-labelledby": `${id}-label`, "aria-describedby": `${id}-hint` },
    ...boxes.map((box) => element("label", {}, box, box.value ? choices?.[box.value] ?? box.value : all ?? "")));
  group.addEventListener("change", async ({ target }) => {
    const isAll = target === boxes[0];
    const list = isAll ? "" : boxes.filter((box) => box.checked && box.value).map((box) => box.value).join(",");
    show(list);
    if (list !== saved && (await changeSetting(key, list))) saved = list;
    show(saved);
  });
  show(saved);
  return element("div", { class: "field" }, element("span", { id: `${id}-label` }, label), group, createHint(id, hint, source));
}

/**
 * @param {string} id of the field
 * @param {string | undefined} hint
 * @param {string | null} source the environment variable that overrides the setting
 */
function createHint(id, hint, source) {
  const note = source === null ? hint ?? "" : `Set by the environment variable ${source}`;
  return element("p", { id: `${id}-hint`, class: "dim" }, note);
}

/**
 * Save a setting; the daemon then restarts with it. Where files are sent is confirmed first, in the daemon's words.
 * @param {string} key
 * @param {string} value
 * @returns {Promise<boolean>} true if it is saved
 */
export async function changeSetting(key, value) {
  const save = (/** @type {boolean} */ confirmed) => send("POST", "/v1/settings", { key, value, confirmed });
  /** @type {Promise<import("./protocol.js").MessageReply | null>} */
  const saving = save(false).catch(async (error) => {
    if (!(error instanceof Problem && error.code === "not_confirmed")) throw error;
    const isConfirmed = await confirmDialog("Change the library?", "Change", capitalize(`${error.message}`));
    return isConfirmed ? save(true) : null;
  });
  const reply = await withErrorToast(saving);
  if (reply) showToast(reply.message);
  return reply !== null;
}
