/** Lets the page open without a connection: the service worker, and the files that it needs from the first visit. */

const SHELL = "shell";

/** Install the service worker, where the browser has one: with TLS, or on this machine. */
export async function supportOffline() {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register("/static/server/service_worker.js", { scope: "/", type: "module" });
  // The files of this visit were loaded before the worker could store them.
  const files = performance.getEntriesByType("resource").map(({ name }) => new URL(name));
  const paths = files.filter(({ pathname }) => pathname.startsWith("/static/")).map(({ pathname }) => pathname);
  await (await caches.open(SHELL)).addAll(["/", ...new Set(paths)]);
}

/** Forget the lists and pictures that this browser has stored, because its member signed out. */
export async function forgetSeen() {
  if (typeof caches === "undefined") return; // without TLS
  await Promise.all((await caches.keys()).filter((name) => name !== SHELL).map((name) => caches.delete(name)));
}
