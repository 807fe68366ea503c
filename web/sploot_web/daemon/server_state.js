/** How the daemon and its library are, in people's words: the same as `sploot status` says. */

const SERVER_STATES = {
  unknown: "has not answered yet",
  ok: "connected",
  degraded: "fails on some files",
  embeddings_fail: "cannot make files searchable now",
  full: "has no room for more files",
  starting: "is starting",
  silent: "does not answer",
  unreachable: "cannot be reached",
  signed_out: "does not accept the token: sign in",
  rate_limited: "limits the rate of requests",
};

/**
 * Describe the state of the server, as a predicate of "the library".
 * @param {import("./protocol.js").ServerStatus} server
 */
export function describeServer({ state }) {
  return SERVER_STATES[/** @type {keyof typeof SERVER_STATES} */ (state)] ?? state.replaceAll("_", " ");
}

/**
 * Describe the daemon in one line, and whether all is well.
 * @param {import("./protocol.js").Status} status
 */
export function describeDaemon({ daemon, server }) {
  const isRunning = daemon.state === "running";
  if (!isRunning) return { text: daemon.state, isOk: false };
  return server.state === "ok"
    ? { text: "running", isOk: true }
    : { text: `the library ${describeServer(server)}`, isOk: false };
}
