/** What admins see of all members: how much each stores, invitations and share links. */

import { createInvitation } from "./invitation.js";
import { get, send } from "../ui/client.js";
import { button, element } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { formatCount, formatSize, formatTime } from "../ui/format.js";
import { withErrorToast } from "../ui/toast.js";

/**
 * @typedef {{name: string, files: number, bytes: number, quota_bytes: number | null}} Member
 * @typedef {{id: string, member: string, expires_at: string}} Invitation
 * @typedef {{slug: string, member: string, created_at: string, expires_at: string | null}} Link
 */

/** Create the section of the account; null if it cannot be loaded. */
export async function createAdminSection() {
  /** @type {{members: Member[], invitations: Invitation[], links: Link[]} | null} */
  const found = await withErrorToast(get("/v1/admin"));
  return found && element("section", { id: "admin", "aria-label": "All members" },
    element("h3", {}, "Members"), element("ul", { class: "rows" }, ...found.members.map(memberRow)),
    element("h3", {}, "Unused invitations"), element("ul", { class: "rows" }, ...found.invitations.map(invitationRow)),
    element("h3", {}, "Share links"), element("ul", { class: "rows" }, ...found.links.map(linkRow)));
}

/** @param {Member} member */
function memberRow({ name, files, bytes, quota_bytes }) {
  const used = quota_bytes === null ? formatSize(bytes) : `${formatSize(bytes)} of ${formatSize(quota_bytes)}`;
  const link = element("p", { class: "device-link" });
  return element("li", {},
    element("span", {}, isolate(name)), element("span", { class: "dim" }, `${formatCount(files, "file")}, ${used}`),
    button("Invite", () => void createInvitation(link, "/v1/admin/invitations", { name }),
      { "aria-label": `Invite ${name}` }), link);
}

/** @param {Invitation} invitation */
function invitationRow({ id, member, expires_at }) {
  return revocableRow(member, `ends ${formatTime(expires_at)}`, `/v1/admin/invitations/${encodeURIComponent(id)}`);
}

/** @param {Link} link */
function linkRow({ slug, member, created_at, expires_at }) {
  const times = [`since ${formatTime(created_at)}`, expires_at && `until ${formatTime(expires_at)}`];
  return revocableRow(member, times.filter(Boolean).join(" "), `/v1/admin/links/${encodeURIComponent(slug)}`);
}

/**
 * @param {string} member
 * @param {string} about
 * @param {string} path of what is revoked
 */
function revocableRow(member, about, path) {
  const row = element("li", {}, element("span", {}, isolate(member)), element("span", { class: "dim" }, about),
    button("Revoke", async () => {
      if (await withErrorToast(send("DELETE", path))) row.remove();
    }, { class: "danger" }));
  return row;
}
