/** HTTP client of the control API, as the daemon serves it on the port of the web UI. */

import { percentEncode } from "./filename.js";
import { capitalize } from "./format.js";

/** A request that failed: an RFC 9457 problem of the daemon, or no response at all. */
export class Problem extends Error {
  /**
   * @param {string} code
   * @param {string} title
   * @param {number} status HTTP status; 0 without a response
   * @param {string | null} [hint] a command that helps
   */
  constructor(code, title, status, hint = null) {
    super(title);
    this.code = code;
    this.status = status;
    this.hint = hint;
  }

  /** The message with its hint. */
  get text() {
    const title = capitalize(this.message);
    return this.hint ? `${title}. Try: ${this.hint}` : `${title}.`;
  }
}

/**
 * Return the message to show for a thrown value.
 * @param {unknown} error
 */
export function errorText(error) {
  return error instanceof Problem ? error.text : String(error);
}

/**
 * Encode fields as a query string; null and undefined are left out.
 * @param {Record<string, string | number | boolean | null | undefined>} fields
 */
export function queryString(fields) {
  const present = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return present.map(([name, value]) => `${name}=${percentEncode(String(value))}`).join("&");
}

/**
 * Send a GET request and return its JSON.
 * @param {string} path
 * @param {Record<string, string | number | boolean | null | undefined>} [fields]
 * @param {AbortSignal} [signal]
 */
export async function get(path, fields = {}, signal) {
  const query = queryString(fields);
  return parseResponse(fetch(query ? `${path}?${query}` : path, { signal: signal ?? null, cache: "no-store" }));
}

/**
 * Send a request that changes something and return its JSON.
 *
 * A custom header makes the request one that no other site can send without a CORS preflight, which the daemon never
 * grants. The Idempotency-Key lets the browser repeat a request on a broken connection without doing it twice.
 * @param {"POST" | "PATCH" | "DELETE" | "PUT"} method
 * @param {string} path
 * @param {BodyInit | object} [body]
 * @param {{keepalive?: boolean, signal?: AbortSignal}} [options]
 */
export async function send(method, path, body = {}, options = {}) {
  const isBytes = body instanceof Blob;
  const headers = {
    "X-Sploot-UI": "1",
    "Idempotency-Key": randomKey(),
    "Content-Type": isBytes ? "application/octet-stream" : "application/json",
  };
  return parseResponse(fetch(path, { method, headers, body: isBytes ? body : JSON.stringify(body), ...options }));
}

/** Return a random key. `crypto.randomUUID` is missing where a server is reached without TLS. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Promise<Response>} request */
async function parseResponse(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem("no_daemon", "the daemon cannot be reached", 0);
  }
  const json = await response.json().catch(() => null);
  if (response.ok && json !== null) return json;
  const title = json?.title ?? json?.error ?? `unexpected response (${response.status}) from the daemon`;
  throw new Problem(json?.code ?? "invalid_response", title, response.status, json?.hint);
}
