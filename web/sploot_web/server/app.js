/** Entry point of the page that sploot-server serves to its members: signs in, then shows the library. */

import { showAccount } from "./account.js";
import { watchLibrary } from "./library_events.js";
import { forgetSeen, supportOffline } from "./offline.js";
import { invitationIn, signIn } from "./sign_in.js";
import { Uploads } from "./uploads.js";
import { errorText, get, Problem } from "../ui/client.js";
import { button, byId, setText } from "../ui/dom.js";
import { acceptFiles } from "../ui/file_input.js";
import { isolate } from "../ui/filename.js";
import { isTyping } from "../ui/keys.js";
import { Library } from "../library/library.js";

/** @typedef {{name: string}} Member */

/**
 * Return the member who is signed in; null in a library without accounts. Shows the sign-in page if there is none.
 * @returns {Promise<Member | null>}
 */
async function currentMember() {
  try {
    return (await get("/v1/session")).member;
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    await forgetSeen();
    await signIn();
    return currentMember();
  }
}

/** @param {Member | null} member */
function showLibrary(member) {
  byId("top-bar").hidden = false;
  byId("library").hidden = false;
  const account = byId("account");
  account.hidden = member === null;
  if (member) {
    setText(account, isolate(member.name));
    account.addEventListener("click", () => void showAccount(member.name, reload));
  }
  const library = new Library(byId("library"), byId("search-slot"));
  library.show();
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.defaultPrevented || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    event.preventDefault();
    byId("search").focus();
  });
  const uploads = new Uploads(byId("uploads"), member?.name ?? null);
  acceptFiles((files) => void uploads.add(files));
  watchLibrary({
    onChange: () => library.onLibraryChange(),
    onOnline: (isOnline) => {
      showConnection(isOnline);
      if (isOnline) void uploads.queue.retryFailed();
    },
    onRefused: checkSession,
  });
  void supportOffline();
}

/** @param {boolean} isOnline */
function showConnection(isOnline) {
  byId("offline").hidden = isOnline;
  setText(byId("offline"), isOnline ? "" : "The library cannot be reached. This page reconnects on its own.");
}

/** Show the sign-in page if the session has ended, perhaps from another device. */
async function checkSession() {
  try {
    await get("/v1/session");
  } catch (error) {
    if (error instanceof Problem && error.status === 401) reload();
  }
}

/** Forget everything that this page has shown. */
function reload() {
  location.reload();
}

addEventListener("hashchange", () => invitationIn(location.hash) && reload());
currentMember().then(showLibrary, (error) => {
  byId("offline").hidden = false;
  byId("offline").replaceChildren(errorText(error), " ", button("Try again", reload));
});
