/** The uploads of this browser that the library does not have yet, in IndexedDB: they outlive the page. */

const DATABASE = "sploot";
const UPLOADS = "uploads";

/**
 * A file to be uploaded.
 *
 * @typedef {object} Upload
 * @property {number} id
 * @property {string | null} member the user to whom it belongs; null if the operating system shared it to the page
 * @property {string} name
 * @property {Blob} content
 * @property {"waiting" | "failed" | "refused"} state failed: tried often enough for now; refused: the file itself is not accepted
 * @property {number} attempts failed ones in a row
 * @property {number} due_ms not to be tried before this time, in milliseconds since 1970
 * @property {string | null} error
 * @property {string | null} resume_url of the part that the server has, for a large file
 */

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(UPLOADS, { keyPath: "id", autoIncrement: true });
  return resultOf(request);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Run `work` in one transaction and return its result once it is stored.
 * @template T
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function change(work) {
  const database = await open();
  try {
    const transaction = database.transaction(UPLOADS, "readwrite", { durability: "strict" });
    const stored = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    const result = await resultOf(work(transaction.objectStore(UPLOADS)));
    await stored;
    return result;
  } finally {
    database.close();
  }
}

/**
 * Store a file to be uploaded. Rejects with a QuotaExceededError if the browser has no room.
 * @param {File} file
 * @param {string | null} member
 */
export async function addUpload(file, member) {
  await change((store) => store.add({
    member, name: file.name, content: file, state: "waiting", attempts: 0, due_ms: 0, error: null, resume_url: null,
  }));
}

/** @param {Upload} upload */
export async function putUpload(upload) {
  await change((store) => store.put(upload));
}

/** @param {number} id */
export async function removeUpload(id) {
  await change((store) => store.delete(id));
}

/**
 * Return the uploads of a member, and those that were shared to the page, in the order of their addition.
 * @param {string | null} member
 * @returns {Promise<Upload[]>}
 */
export async function listUploads(member) {
  /** @type {Upload[]} */
  const all = await change((store) => store.getAll());
  return all.filter((upload) => upload.member === member || upload.member === null);
}
