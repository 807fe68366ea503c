/** The account of the member: the browsers that are signed in, a link for another device, and signing out. */

import { createAdminSection } from "./admin.js";
import { createInvitation } from "./invitation.js";
import { get, send } from "../ui/client.js";
import { openDialog } from "../ui/dialog.js";
import { button, element } from "../ui/dom.js";
import { isolate } from "../ui/filename.js";
import { formatTime } from "../ui/format.js";
import { withErrorToast } from "../ui/toast.js";

/** @typedef {{id: string, user_agent: string, created_at: string, last_used_at: string, is_this: boolean}} Session */

const BROWSERS = /** @type {const} */ ([
  ["Edg", "Edge"], ["OPR", "Opera"], ["Firefox", "Firefox"], ["Chrome", "Chrome"], ["Safari", "Safari"],
]); // in this order: most name the others, too
const SYSTEMS = /** @type {const} */ ([
  ["iPhone", "iPhone"], ["iPad", "iPad"], ["Android", "Android"], ["Mac OS", "Mac"], ["Windows", "Windows"],
  ["Linux", "Linux"],
]);

/**
 * Return a name for a browser by its User-Agent: `Chrome on Android`.
 * @param {string} userAgent
 */
export function browserName(userAgent) {
  const browser = BROWSERS.find(([part]) => userAgent.includes(part))?.[1];
  const system = SYSTEMS.find(([part]) => userAgent.includes(part))?.[1];
  return [browser ?? "A browser", system].filter(Boolean).join(" on ");
}

/**
 * Show the account.
 * @param {string} name of the member
 * @param {() => void} onSignedOut
 */
export async function showAccount(name, onSignedOut) {
  /** @type {{sessions: Session[], is_admin: boolean} | null} */
  const reply = await withErrorToast(get("/v1/sessions"));
  if (!reply) return;
  const signOut = (/** @type {string} */ path) => async () => {
    if (!(await withErrorToast(send("DELETE", path)))) return;
    dialog.close();
    onSignedOut();
  };
  const admin = reply.is_admin ? await createAdminSection() : null;
  const link = element("p", { id: "device-link", class: "device-link" });
  const dialog = openDialog(isolate(name),
    element("h3", {}, "Signed-in browsers"),
    element("ul", { id: "sessions" }, ...reply.sessions.map(sessionRow)),
    element("h3", {}, "Another device"),
    element("p", { class: "dim" }, "A link signs in one other browser, for example on your phone, within 15 minutes."),
    button("Create a link", () => void createInvitation(link, "/v1/invitations")), link, ...(admin ? [admin] : []),
    element("div", { class: "actions" },
      button("Sign out everywhere", signOut("/v1/sessions"), { class: "danger" }),
      button("Sign out", signOut("/v1/session"), { class: "primary" })));
}

/** @param {Session} session */
function sessionRow(session) {
  const row = element("li", {},
    element("span", {}, browserName(session.user_agent)),
    element("span", { class: "dim" }, session.is_this ? "this browser" : `used ${formatTime(session.last_used_at)}`));
  if (!session.is_this) {
    row.append(button("Sign out", async () => {
      const path = `/v1/sessions/${encodeURIComponent(session.id)}`;
      if (await withErrorToast(send("DELETE", path))) row.remove();
    }, { "aria-label": `Sign out ${browserName(session.user_agent)}` }));
  }
  return row;
}
