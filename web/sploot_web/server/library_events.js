/** Hears of changes to the library: one event stream, which the browser reconnects. */

const STREAM = "/api/sse/embedding-updates";
const RETRY_MS = 5000; // after an error status, by which the browser ends a stream for good

/**
 * @typedef {object} Handlers
 * @property {() => void} onChange pictures were added, became searchable or were deleted on any device, or may have been
 * @property {(isOnline: boolean) => void} onOnline
 * @property {() => Promise<void>} onRefused the server answered with an error
 */

/**
 * Watch the library for as long as the page is open.
 * @param {Handlers} handlers
 * @param {boolean} [isResumed] changes may have been missed before
 */
export function watchLibrary(handlers, isResumed = false) {
  let mayHaveMissed = isResumed;
  const source = new EventSource(STREAM);
  source.addEventListener("connected", () => {
    handlers.onOnline(true);
    if (mayHaveMissed) handlers.onChange();
    mayHaveMissed = true;
  });
  source.addEventListener("embedding-update", handlers.onChange);
  source.addEventListener("error", () => {
    handlers.onOnline(false);
    if (source.readyState !== EventSource.CLOSED) return;
    void handlers.onRefused().then(() => setTimeout(() => watchLibrary(handlers, true), RETRY_MS));
  });
}
