/** How the page asks the daemon: the requests of the control API, on the page's own door. */

import { quoted } from "./names.js";

/** Why the daemon refused, or that there is none: a sentence for people, and what to do. */
export class Problem extends Error {
  /**
   * @param {string} code
   * @param {string} title
   * @param {number} status of HTTP; 0 when nobody answered
   * @param {string | null} [hint]
   */
  constructor(code, title, status, hint = null) {
    super(title);
    this.code = code;
    this.status = status;
    this.hint = hint;
  }

  get sentence() {
    const first = this.message.charAt(0).toUpperCase() + this.message.slice(1);
    return this.hint ? `${first}. To mend it: ${this.hint}` : `${first}.`;
  }
}

/**
 * What to say of anything that was thrown.
 * @param {unknown} error
 */
export function sentenceOf(error) {
  return error instanceof Problem ? error.sentence : String(error);
}

/**
 * The fields that are given, as a query string.
 * @param {Record<string, string | number | boolean | null | undefined>} fields
 */
export function query(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return given.map(([name, value]) => `${name}=${quoted(String(value))}`).join("&");
}

/**
 * @param {string} path
 * @param {Record<string, string | number | boolean | null | undefined>} [fields]
 * @param {AbortSignal} [signal]
 */
export async function get(path, fields = {}, signal) {
  const asked = query(fields);
  return answered(fetch(asked ? `${path}?${asked}` : path, { signal: signal ?? null, cache: "no-store" }));
}

/**
 * Change something. `key` names this change: asked for twice, it happens once.
 * @param {"POST" | "PATCH" | "DELETE" | "PUT"} method
 * @param {string} path
 * @param {BodyInit | object} [body]
 * @param {{keepalive?: boolean, signal?: AbortSignal}} [options]
 */
export async function change(method, path, body = {}, options = {}) {
  const isBytes = body instanceof Blob;
  const headers = {
    "X-Sploot-Page": "1",
    "Idempotency-Key": crypto.randomUUID(),
    "Content-Type": isBytes ? "application/octet-stream" : "application/json",
  };
  return answered(fetch(path, { method, headers, body: isBytes ? body : JSON.stringify(body), ...options }));
}

/** @param {Promise<Response>} asking */
async function answered(asking) {
  let response;
  try {
    response = await asking;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem("no_daemon", "the daemon cannot be reached", 0);
  }
  const said = await response.json().catch(() => null);
  if (response.ok && said !== null) return said;
  throw new Problem(said?.code ?? "unclear", said?.title ?? `the daemon answered ${response.status}`, response.status, said?.hint);
}
