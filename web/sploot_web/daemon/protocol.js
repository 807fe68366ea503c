/**
 * The JSON that the web UI reads, as types. Names and fields are those of `splootd/protocol/`.
 *
 * @typedef {import("../ui/states.js").State} State
 *
 * @typedef {object} ItemRow
 * @property {number} id
 * @property {string} path
 * @property {State} state
 * @property {string} priority
 * @property {number} size bytes
 * @property {string | null} asset_id
 * @property {number} attempts
 * @property {string} added_at
 * @property {string} updated_at
 * @property {string | null} next_at
 * @property {string | null} error_code
 * @property {string | null} error_message
 * @property {boolean} duplicate
 * @property {string | null} folder
 * @property {string[]} tags
 * @property {boolean} can_retry the same file may succeed now
 *
 * @typedef {object} Items
 * @property {ItemRow[]} items
 * @property {number | null} before
 * @property {number | null} after
 *
 * @typedef {object} FolderRow
 * @property {string} path
 * @property {string} state
 * @property {string | null} detail
 * @property {number} items
 * @property {string | null} last_new_at
 *
 * @typedef {object} ActionRequired
 * @property {string} what
 * @property {number} count
 * @property {string} command
 *
 * @typedef {object} DaemonStatus
 * @property {string} version
 * @property {number} pid
 * @property {number} uptime_s
 * @property {string} state
 * @property {number} rss_bytes
 *
 * @typedef {object} ServerStatus
 * @property {string} url
 * @property {boolean} is_local
 * @property {string} state
 * @property {string} breaker
 * @property {string} push
 * @property {string | null} retry_at
 * @property {string | null} detail
 *
 * @typedef {object} Rates
 * @property {number} items_per_s
 * @property {number} bytes_per_s
 * @property {number | null} eta_s
 *
 * @typedef {object} Status
 * @property {DaemonStatus} daemon
 * @property {ServerStatus} server
 * @property {Record<State | "total", number>} items
 * @property {number} duplicates
 * @property {number} delayed
 * @property {Rates} rates
 * @property {FolderRow[]} folders
 * @property {ActionRequired[]} actions_required
 *
 * @typedef {object} AttemptRow
 * @property {string} at
 * @property {string} error_code
 * @property {string} action
 * @property {string} error_message
 *
 * @typedef {object} Explanation
 * @property {ItemRow} item
 * @property {AttemptRow[]} attempts
 * @property {string} next
 * @property {number} versions
 * @property {boolean} can_retry
 * @property {string | null} removed_at
 *
 * @typedef {object} ChangeReply
 * @property {number[]} ids
 * @property {string[]} not_found
 *
 * @typedef {object} CallRow
 * @property {string} endpoint
 * @property {number} count
 * @property {number} errors
 * @property {number} p50_s
 * @property {number} p95_s
 * @property {number} p99_s
 *
 * @typedef {object} MemoryRow
 * @property {number} now_bytes
 * @property {number} peak_bytes
 * @property {number} average_bytes
 *
 * @typedef {object} Report
 * @property {CallRow[]} calls
 * @property {MemoryRow} memory
 * @property {Record<string, number>} errors
 *
 * @typedef {Report & {rates: Rates}} Metrics the `metrics` event
 *
 * @typedef {object} Bottleneck
 * @property {string} code
 * @property {string} cause
 * @property {string} suggestion
 *
 * @typedef {object} Finding
 * @property {string} check
 * @property {string} state ok, warning or error
 * @property {string} message
 * @property {string | null} command
 *
 * @typedef {object} Findings
 * @property {Finding[]} findings
 *
 * @typedef {object} MessageReply
 * @property {string} message
 *
 * @typedef {object} PathOutcome
 * @property {string} path
 * @property {string} outcome
 * @property {string | null} detail
 *
 * @typedef {object} AddReply
 * @property {PathOutcome[]} paths
 *
 * @typedef {object} Setting
 * @property {string} key
 * @property {string} value
 * @property {string[]} choices
 * @property {string | null} source
 *
 * @typedef {object} Settings
 * @property {Setting[]} settings
 * @property {string} home
 * @property {string} browser_uploads
 *
 * @typedef {object} FolderNames
 * @property {string[]} folders
 */

/** In display order. */
export const PAGE_ITEMS_MAX = 1000; // in one response
