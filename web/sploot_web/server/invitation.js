/** Invitations: a link that signs in one browser. */

import { send } from "../ui/client.js";
import { button, element } from "../ui/dom.js";
import { showToast, withErrorToast } from "../ui/toast.js";

/**
 * Create an invitation, and show its link in `target`.
 * @param {HTMLElement} target
 * @param {string} path
 * @param {object} [body]
 */
export async function createInvitation(target, path, body) {
  /** @type {{secret: string} | null} */
  const reply = await withErrorToast(send("POST", path, body));
  if (!reply) return;
  const url = `${location.origin}/#invitation=${reply.secret}`;
  const copy = async () => {
    if ((await withErrorToast(navigator.clipboard.writeText(url))) !== null) showToast("Link copied.");
  };
  target.replaceChildren(element("code", {}, url), " ", button("Copy", () => void copy()));
}
