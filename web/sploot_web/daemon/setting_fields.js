/** The settings of the configuration file that the page may change, as form fields; each is saved when it changes. */

import { send, Problem } from "../ui/client.js";
import { confirmDialog } from "../ui/dialog.js";
import { element } from "../ui/dom.js";
import { capitalize } from "../ui/format.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/**
 * A field: a menu of `choices` by value, or a text with a `hint`.
 * @typedef {{key: string, label: string, choices?: Record<string, string>, hint?: string}} Field
 */

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
    hint: "Such as image/jpeg,image/png,image/heic; empty for all that the library on this computer can show",
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
 * @param {import("./protocol.js").Setting} setting
 */
export function createField({ key, label, choices, hint }, { value, source }) {
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
  const note = source === null ? hint ?? "" : `Set by the environment variable ${source}`;
  return element("div", { class: "field" }, element("label", { for: id }, label), input,
    element("p", { id: `${id}-hint`, class: "dim" }, note));
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
