/** The sign-in page: exchanges an invitation or a token for a session of this browser. */

import { errorText, Problem, send } from "../ui/client.js";
import { byId, element, setAttribute, setText } from "../ui/dom.js";

const INVITATION = /[#?&]invitation=([^&\s]+)/;

/**
 * Return the invitation in an address or a text, '' if there is none.
 *
 * It stands behind the `#`, which a browser never sends: neither the log of a proxy nor the preview of a chat sees it.
 * @param {string} text
 */
export function invitationIn(text) {
  return INVITATION.exec(text)?.[1] ?? "";
}

/**
 * Show the sign-in page until this browser is signed in.
 * @returns {Promise<void>}
 */
export function signIn() {
  const invitation = invitationIn(location.hash);
  const input = element("input", {
    id: "secret", type: "password", required: true, autocomplete: "current-password", maxlength: 2000,
    spellcheck: false, "aria-describedby": "sign-in-hint sign-in-error",
  });
  const error = element("p", { id: "sign-in-error", role: "alert" });
  const submit = element("button", { type: "submit", class: "primary" }, invitation ? "Open the library" : "Sign in");
  const form = element("form", {},
    element("img", { src: "/static/ui/icon.svg", alt: "", width: 56, height: 56 }),
    element("h1", { id: "sign-in-title" }, invitation ? "You are invited" : "Sign in to Sploot"),
    element("p", { id: "sign-in-hint", class: "dim" }, invitation
      ? "This invitation signs in this browser and is then used up."
      : "Paste your invitation link or a token. The person who runs this library creates them."),
    ...(invitation ? [] : [element("label", { for: "secret" }, "Invitation or token"), input]),
    error, submit);
  const page = byId("sign-in");
  page.replaceChildren(form);
  page.hidden = false;
  (invitation ? submit : input).focus();
  return new Promise((resolve) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setAttribute(submit, "disabled", true);
    setText(error, "");
    try {
      const secret = invitation || invitationIn(input.value) || input.value.trim();
      await send("POST", "/v1/session", { secret });
      history.replaceState(null, "", "/"); // the invitation is used up
      page.hidden = true;
      page.replaceChildren();
      resolve();
    } catch (problem) {
      setText(error, messageOf(problem, invitation !== ""));
      setAttribute(submit, "disabled", false);
    }
  }));
}

/**
 * @param {unknown} problem
 * @param {boolean} isInvitation
 */
function messageOf(problem, isInvitation) {
  if (!(problem instanceof Problem) || problem.status !== 401) return errorText(problem);
  return isInvitation
    ? "This invitation has been used or has expired. Ask for a new one."
    : "This invitation or token is not valid. It may have been used or have expired.";
}
