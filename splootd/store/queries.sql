-- Every statement of the store, by name. A test checks the plan of each one: none may scan the table of items.
-- INDEXED BY pins the index that was made for the statement. Without it SQLite chooses by its statistics: with few rows
-- it guesses wrong, and it keeps that plan when there are many. NOT INDEXED makes the ids alone lead to the rows.
-- The index of an INDEXED BY is partial, so the statement repeats the WHERE clause of the index word for word: SQLite
-- uses a partial index only when the statement implies its condition.

-- name: claimable
-- Select the next items of one shard and one priority, first in, first out.
SELECT * FROM items INDEXED BY items_claimable
WHERE server_id = :server_id AND shard = :shard AND priority = :priority AND state = 'pending' AND next_at IS NULL
ORDER BY added_at, id LIMIT :limit;

-- name: has_urgent
-- Check for an urgent item that can be claimed.
SELECT 1 FROM items INDEXED BY items_urgent
WHERE server_id = :server_id AND priority = 0 AND state = 'pending' AND next_at IS NULL LIMIT 1;

-- name: claimable_urgent
-- Select the next urgent items of any shard.
SELECT * FROM items INDEXED BY items_urgent
WHERE server_id = :server_id AND priority = 0 AND state = 'pending' AND next_at IS NULL
ORDER BY added_at, id LIMIT :limit;

-- name: claim
-- Lease the selected items.
UPDATE items NOT INDEXED SET state = 'uploading', lease = :token || '.' || id, attempted = 1, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: accept
-- Record that the server has the bytes. An item that is searchable already becomes ready and is not polled.
UPDATE items SET state = iif(:embedded, 'ready', 'embedding'), lease = NULL, next_at = iif(:embedded, NULL, :now),
  asset_id = :asset_id, sha256 = :sha256, duplicate = :duplicate, accepted_at = :now, error_code = NULL,
  error_message = NULL, embedding_requested = :embedding_requested, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease;

-- name: stage_accept
-- Stage one accepted item of a batch.
INSERT INTO temp.staged_accepts VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: still_leased_accepts
-- Select the staged items whose lease is still valid.
SELECT n FROM temp.staged_accepts CROSS JOIN items ON items.id = staged_accepts.id
WHERE items.state = 'uploading' AND items.lease = staged_accepts.lease;

-- name: unstage_accept
-- Remove a staged item whose lease is no longer valid.
DELETE FROM temp.staged_accepts WHERE n = ?;

-- name: accept_staged
-- Do the same as `accept` for all staged items.
UPDATE items NOT INDEXED SET state = iif(staged_accepts.embedded, 'ready', 'embedding'), lease = NULL,
  next_at = iif(staged_accepts.embedded, NULL, :now), asset_id = staged_accepts.asset_id,
  sha256 = staged_accepts.sha256, duplicate = staged_accepts.duplicate, accepted_at = :now, error_code = NULL,
  error_message = NULL, embedding_requested = staged_accepts.embedding_requested, updated_at = :now
FROM temp.staged_accepts WHERE items.id = staged_accepts.id;

-- name: upsert_staged_content
-- Record the contents of all staged items in the ledger.
INSERT INTO ledger (server_id, sha256, asset_id, was_embedded, last_seen_at)
SELECT :server_id, sha256, asset_id, embedded, :now FROM temp.staged_accepts WHERE true ORDER BY n
ON CONFLICT DO UPDATE SET
  was_embedded = iif(asset_id = excluded.asset_id, max(was_embedded, excluded.was_embedded), excluded.was_embedded),
  asset_id = excluded.asset_id, removed_at = NULL, last_seen_at = excluded.last_seen_at;

-- name: clear_staged_accepts
-- Empty the staging table after the batch is written.
DELETE FROM temp.staged_accepts;

-- name: retry
-- Return an item to the queue after a counted attempt. It keeps its place in the order of arrival.
UPDATE items SET state = 'pending', lease = NULL, next_at = :next_at, attempts = attempts + 1, error_code = :error_code,
  error_message = :error_message, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: snooze
-- Return an item to the queue without counting the attempt.
UPDATE items SET state = 'pending', lease = NULL, next_at = :next_at, error_code = :error_code,
  error_message = :error_message, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: discard
-- Move an item to the dead-letter queue.
UPDATE items SET state = 'failed', lease = NULL, attempts = attempts + 1, error_code = :error_code,
  error_message = :error_message, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: skip
-- Skip an item: it is not uploaded and needs no action from the user.
UPDATE items SET state = 'skipped', lease = NULL, error_code = :error_code, error_message = :error_message,
  updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease
RETURNING id;

-- name: file_missing
-- Record that the file is no longer at the path that was claimed.
UPDATE items SET state = 'missing', lease = NULL, error_code = 'file_missing', error_message = :error_message,
  updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND path = :path
RETURNING id;

-- name: complete_superseded
-- End an item that would return to the queue, but whose path now belongs to another file.
UPDATE items SET state = 'missing', lease = NULL, error_code = 'file_missing', error_message = :error_message,
  updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 0
RETURNING id;

-- name: update_version
-- Restart a pending item whose file has changed.
UPDATE items SET size = :size, mtime_ns = :mtime_ns, device = :device, inode = :inode, next_at = :next_at, attempts = 0,
  sha256 = NULL, asset_id = NULL, error_code = NULL, error_message = NULL, updated_at = :now
WHERE id = :id AND path = :path AND state = 'pending';

-- name: insert_attempt
-- Add an entry to the history of an item.
INSERT INTO attempts (item_id, at, error_code, action, error_message)
VALUES (:id, :now, :error_code, :action, :error_message);

-- name: upsert_content
-- Record in the ledger that the server has a content.
INSERT INTO ledger (server_id, sha256, asset_id, was_embedded, last_seen_at)
VALUES (:server_id, :sha256, :asset_id, :embedded, :now)
ON CONFLICT DO UPDATE SET
  was_embedded = iif(asset_id = excluded.asset_id, max(was_embedded, excluded.was_embedded), excluded.was_embedded),
  asset_id = excluded.asset_id, removed_at = NULL, last_seen_at = excluded.last_seen_at;

-- name: refund_attempts
-- Refund one attempt of each pending item after a failure of the server.
UPDATE items NOT INDEXED SET attempts = attempts - 1, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'pending' AND attempts > 0
RETURNING id;

-- name: release_orphaned
-- Release the leases of a range, whose callers were cancelled before they received them.
UPDATE items INDEXED BY items_leased SET state = iif(latest, 'pending', 'missing'), lease = NULL,
  error_code = iif(latest, error_code, 'file_missing'), error_message = iif(latest, error_message, :superseded_message),
  updated_at = :now
WHERE state = 'uploading' AND lease BETWEEN :first AND :last;

-- name: release_stale
-- Release the leases of other instances. The process lock proves that those daemons no longer run.
UPDATE items INDEXED BY items_leased SET state = iif(latest, 'pending', 'missing'), lease = NULL,
  error_code = iif(latest, 'interrupted', 'file_missing'),
  error_message = iif(latest, :error_message, :superseded_message), updated_at = :now
WHERE state = 'uploading' AND lease > '' AND substr(lease, 1, length(:instance_id) + 1) <> :instance_id || ':'
RETURNING id, error_code, error_message;

-- name: make_due
-- Make delayed items claimable when their time has come, the earliest first.
UPDATE items SET next_at = NULL, updated_at = :now
WHERE id IN (
  SELECT id FROM items INDEXED BY items_delayed
  WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL AND next_at <= :now
  ORDER BY next_at LIMIT :limit)
RETURNING id;

-- name: clamp_delays
-- Make items due whose delay is longer than the maximum: the clock was set back since.
UPDATE items SET next_at = NULL, updated_at = :now
WHERE id IN (
  SELECT id FROM items INDEXED BY items_delayed
  WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL AND next_at > :next_at_max
  LIMIT :limit)
RETURNING id;

-- name: clamp_polls
-- Do the same for embedding polls, and move acceptance times out of the future.
UPDATE items SET next_at = :now, accepted_at = min(accepted_at, :now)
WHERE id IN (
  SELECT id FROM items INDEXED BY items_embedding_by_next_at
  WHERE server_id = :server_id AND state = 'embedding' AND next_at > :next_at_max
  LIMIT :limit)
RETURNING id;

-- name: next_due
-- Select the time at which the first delayed item is due.
SELECT min(next_at) FROM items INDEXED BY items_delayed
WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL;

-- name: due_embeddings
-- Select the embeddings whose poll is due, the oldest first.
SELECT id, asset_id, accepted_at, embedding_requested FROM items INDEXED BY items_embedding
WHERE server_id = :server_id AND state = 'embedding' AND next_at <= :now
ORDER BY accepted_at, id LIMIT :limit;

-- name: embedding_durations
-- Select how long the embeddings among the last 10,000 events took, in seconds. A later event of a ready item is a new
-- path or priority.
SELECT min(at) - accepted_at FROM events JOIN items ON items.id = item_id
WHERE seq > (SELECT max(seq) FROM events) - 10000
  AND server_id = :server_id AND events.state = 'ready' AND at > accepted_at
GROUP BY item_id ORDER BY min(seq) DESC LIMIT :limit;

-- name: embedding_backlog
-- Count the embeddings that the server has reported as not ready. Until then a row has the poll time of its acceptance.
SELECT count(*) FROM items INDEXED BY items_embedding
WHERE server_id = :server_id AND state = 'embedding' AND next_at > accepted_at;

-- name: embeddings_by_asset_id
-- Select the pending embeddings of these assets.
SELECT id, asset_id, accepted_at, embedding_requested FROM items INDEXED BY items_by_asset
WHERE server_id = :server_id AND asset_id IN (SELECT value FROM json_each(:asset_ids)) AND state = 'embedding';

-- name: count_pending_embeddings
-- Count the pending embeddings up to a limit.
SELECT count(*) FROM (SELECT 1 FROM items INDEXED BY items_embedding
  WHERE server_id = :server_id AND state = 'embedding' LIMIT :limit);

-- name: next_embedding_due
-- Select the time of the next embedding poll.
SELECT min(next_at) FROM items INDEXED BY items_embedding_by_next_at
WHERE server_id = :server_id AND state = 'embedding';

-- name: schedule_poll
-- Schedule the next poll of an embedding that is not ready.
UPDATE items SET next_at = :next_at WHERE id = :id AND server_id = :server_id AND state = 'embedding';

-- name: finish
-- Mark items as searchable.
UPDATE items NOT INDEXED SET state = 'ready', next_at = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'embedding'
RETURNING sha256;

-- name: mark_content_embedded
-- Record in the ledger that a content was searchable.
UPDATE ledger SET was_embedded = 1 WHERE server_id = :server_id AND sha256 = :sha256;

-- name: discard_embedding
-- Move an item whose embedding failed to the dead-letter queue. A superseded one is skipped.
UPDATE items SET state = iif(latest, 'failed', 'skipped'), next_at = NULL, error_code = :error_code,
  error_message = :error_message, updated_at = :now
WHERE id = :id AND server_id = :server_id AND state = 'embedding'
RETURNING id;

-- name: skip_removed
-- Skip an item whose asset was removed on the server before it was searchable.
UPDATE items SET state = 'skipped', next_at = NULL, error_code = :error_code, error_message = :error_message,
  updated_at = :now
WHERE id = :id AND server_id = :server_id AND state = 'embedding'
RETURNING sha256;

-- name: requeue
-- Requeue items as urgent, with their attempts reset. What the library removed or could not process is forced.
UPDATE items NOT INDEXED SET state = 'pending', priority = 0, attempts = 0, next_at = NULL, duplicate = 0,
  force = iif(error_code IN ('removed', 'embedding_failed'), 1, force), error_code = NULL,
  error_message = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state IN ('failed', 'skipped', 'missing')
  AND latest = 1
RETURNING id;

-- name: ended_by_error_code_after
-- Select one batch of the items that ended with one error code.
SELECT id FROM items INDEXED BY items_by_error_code
WHERE error_code = :error_code AND id > :after AND server_id = :server_id
  AND state IN ('failed', 'skipped', 'missing') AND latest = 1
ORDER BY id LIMIT :limit;

-- name: bump
-- Make pending items urgent and due.
UPDATE items NOT INDEXED SET priority = 0, next_at = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'pending'
RETURNING id;

-- name: forget
-- Drop items from the queue. Their files and their assets stay.
UPDATE items NOT INDEXED SET state = 'skipped', next_at = NULL, error_code = 'cancelled',
  error_message = :error_message, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state IN ('pending', 'failed', 'missing')
RETURNING id;

-- name: latest_at_path
-- Select the latest item of a path.
SELECT * FROM items WHERE server_id = :server_id AND path = :path AND latest = 1;

-- name: version_at_path
-- Select the file version and the state of the latest item of a path.
SELECT id, state, folder_id, size, mtime_ns, device, inode, error_code, sha256 FROM items
WHERE server_id = ? AND path = ? AND latest = 1;

-- name: is_known
-- Check for an item with this path or this inode.
SELECT 1 FROM items INDEXED BY items_latest WHERE server_id = ? AND path = ? AND latest = 1
UNION ALL
SELECT 1 FROM items INDEXED BY items_by_inode WHERE device = ? AND inode = ? AND latest = 1
LIMIT 1;

-- name: latest_by_inode
-- Select the items of the same file version, at any path.
SELECT * FROM items
WHERE server_id = :server_id AND device = :device AND inode = :inode AND size = :size AND mtime_ns = :mtime_ns
  AND latest = 1
ORDER BY id;

-- name: insert_item
-- Insert a new file, or a new version of a file.
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, next_at,
  folder_id, import_id, tags, force, after_upload)
VALUES (:server_id, :path, :size, :mtime_ns, :device, :inode, :priority, :shard, :now, :now, :next_at,
  :folder_id, :import_id, :tags, :force, :after_upload)
RETURNING id;

-- name: stage_item
-- Stage one file of a batch whose path is unknown.
INSERT INTO temp.staged_items (path, size, mtime_ns, device, inode, shard, settles_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: unstage_known_inodes
-- Remove staged files that may be renamed ones.
DELETE FROM temp.staged_items WHERE EXISTS (
  SELECT 1 FROM items INDEXED BY items_by_inode
  WHERE items.server_id = :server_id AND items.device = staged_items.device AND items.inode = staged_items.inode
    AND items.latest = 1);

-- name: insert_staged_items
-- Do the same as `insert_item` for all staged files.
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, next_at,
  folder_id, import_id, tags, force, after_upload)
SELECT :server_id, path, size, mtime_ns, device, inode, :priority, shard, :now, :now, settles_at,
  :folder_id, :import_id, :tags, :force, :after_upload
FROM temp.staged_items ORDER BY n
RETURNING path, id;

-- name: clear_staged_items
-- Empty the staging table after the batch is written.
DELETE FROM temp.staged_items;

-- name: supersede
-- Mark an item as superseded: another version or another file has its path. A pending or failed item ends here.
UPDATE items SET latest = 0, updated_at = :now,
  next_at = iif(state = 'pending', NULL, next_at),
  error_code = iif(state IN ('pending', 'failed'), 'file_missing', error_code),
  error_message = iif(state IN ('pending', 'failed'), :superseded_message, error_message),
  state = CASE state WHEN 'pending' THEN 'missing' WHEN 'failed' THEN 'skipped' ELSE state END
WHERE id = :id;

-- name: rename
-- Change the path of an item whose file was renamed.
UPDATE items SET path = :path, folder_id = coalesce(:folder_id, folder_id), updated_at = :now WHERE id = :id;

-- name: update_device
-- Change the device number of a file whose disk was mounted again under another number.
UPDATE items SET device = :device WHERE id = :id;

-- name: set_tags
-- Replace the tags of an item that was not sent with them.
UPDATE items SET tags = :tags WHERE id = :id;

-- name: requeue_in_place
-- Requeue an item whose missing file exists again, or whose tags were replaced.
UPDATE items SET state = 'pending', priority = :priority, attempts = 0, next_at = :next_at, error_code = NULL,
  error_message = NULL, updated_at = :now
WHERE id = :id AND state IN ('missing', 'failed');

-- name: assign_folder
-- Assign an item without a folder to the folder that contains it.
UPDATE items SET folder_id = :folder_id WHERE id = :id AND folder_id IS NULL;

-- name: join_import
-- Add an unfinished item to one more import. It stays in those that named it before.
INSERT INTO import_items (import_id, item_id)
SELECT :import_id, id FROM items
WHERE id = :id AND state IN ('pending', 'uploading', 'embedding') AND import_id IS NOT :import_id
ON CONFLICT DO NOTHING;

-- name: raise_priority
-- Raise the priority of a pending item to that of an import that names it, and force it if the import does.
UPDATE items SET priority = min(priority, :priority), force = max(force, :force)
WHERE id = :id AND state = 'pending' AND (priority > :priority OR force < :force);

-- name: set_after_upload
-- Set or clear the post-upload action of an item.
UPDATE items SET after_upload = :after_upload WHERE id = :id;

-- name: pending_actions
-- Select ready items whose post-upload action is not done.
SELECT * FROM items INDEXED BY items_post_upload
WHERE server_id = :server_id AND after_upload IS NOT NULL AND state = 'ready' AND latest = 1 AND id > :after_id
ORDER BY id LIMIT :limit;

-- name: begin_move
-- Record a move before the file is touched, unless the action was cancelled.
INSERT INTO moves (item_id, source, target, is_trashed, info_path, size, mtime_ns, device, inode, state, updated_at)
SELECT id, path, :target, :is_trashed, :info_path, size, mtime_ns, device, inode, 'moving', :now FROM items
WHERE id = :id AND path = :source AND after_upload IS NOT NULL AND state = 'ready' AND latest = 1
RETURNING *;

-- name: begin_restore
-- Record the restore of a moved file before the file is touched.
UPDATE moves SET state = 'restoring', source = :source, updated_at = :now
WHERE id = :id AND state = 'moved'
RETURNING *;

-- name: finish_move
-- Record how a move or a restore ended.
UPDATE moves SET state = :state, updated_at = :now WHERE id = :id AND state IN ('moving', 'restoring') RETURNING *;

-- name: moves_in_progress
-- Select the moves that a crash has interrupted.
SELECT * FROM moves INDEXED BY moves_in_progress WHERE state IN ('moving', 'restoring') ORDER BY id;

-- name: move_by_item
-- Select the last move of an item that was not restored.
SELECT * FROM moves INDEXED BY moves_by_item WHERE item_id = :id AND state = 'moved' ORDER BY id DESC LIMIT 1;

-- name: last_move
-- Select the last move that was not restored.
SELECT * FROM moves INDEXED BY moves_moved WHERE state = 'moved' ORDER BY id DESC LIMIT 1;

-- name: import_by_key
-- Select the import of a command that is repeated.
SELECT id, priority, tags, force, after_upload FROM imports
WHERE server_id = :server_id AND idempotency_key = :idempotency_key;

-- name: insert_import
-- Insert the import of a new command.
INSERT INTO imports (server_id, idempotency_key, priority, tags, force, after_upload, added_at)
VALUES (:server_id, :idempotency_key, :priority, :tags, :force, :after_upload, :now)
RETURNING id, priority, tags, force, after_upload;

-- name: insert_import_root
-- Insert one path of an import. The items of a watched folder belong to that folder.
INSERT INTO import_roots (import_id, path, folder_id)
VALUES (:import_id, :path, (SELECT id FROM folders WHERE path = :path))
ON CONFLICT DO NOTHING;

-- name: unfinished_roots
-- Select the paths that still have to be scanned, the oldest first.
SELECT import_roots.id, import_id, path, folder_id
FROM import_roots INDEXED BY import_roots_unfinished JOIN imports ON imports.id = import_id
WHERE finished_at IS NULL AND server_id = :server_id
ORDER BY import_roots.id;

-- name: finish_root
-- Mark a path as scanned.
UPDATE import_roots SET finished_at = :now WHERE id = :id AND finished_at IS NULL;

-- name: import_by_id
-- Select the options of one import.
SELECT id, priority, tags, force, after_upload FROM imports WHERE id = :id AND server_id = :server_id;

-- name: response
-- Select the stored response to a command.
SELECT response FROM idempotency_keys WHERE key = :key;

-- name: store_response
-- Store the response to a command. The first response stays.
INSERT INTO idempotency_keys (key, response, created_at) VALUES (:key, :response, :now) ON CONFLICT DO NOTHING;

-- name: upsert_folder
-- Insert a watched folder, or change its options.
INSERT INTO folders (path, device, inode, priority, tags, after_upload, added_at)
VALUES (:path, :device, :inode, :priority, :tags, :after_upload, :now)
ON CONFLICT DO UPDATE SET device = excluded.device, inode = excluded.inode, priority = excluded.priority,
  tags = excluded.tags, after_upload = excluded.after_upload
RETURNING *,
  coalesce((SELECT n FROM folder_counts WHERE folder_id = folders.id AND server_id = :server_id), 0) AS items;

-- name: folder_at_path
-- Select the watched folder at a path.
SELECT id FROM folders WHERE path = :path;

-- name: detach_items
-- Detach one batch of items from their folder.
UPDATE items SET folder_id = NULL WHERE id IN (SELECT id FROM items WHERE folder_id = :folder_id LIMIT :limit)
RETURNING id;

-- name: delete_folder
-- Delete a watched folder that has no items.
DELETE FROM folders WHERE id = :folder_id;

-- name: folders
-- Select all watched folders.
SELECT folders.*, coalesce(n, 0) AS items
FROM folders LEFT JOIN folder_counts ON folder_id = folders.id AND server_id = :server_id
ORDER BY path;

-- name: mark_scanned
-- Record the end of a full scan of a folder.
UPDATE folders SET scanned_at = :now WHERE id = :id;

-- name: cache_epoch
-- Select the number that invalidates the scan cache.
SELECT value FROM cache_epoch;

-- name: content
-- Select the ledger entry of a content.
SELECT sha256, asset_id, was_embedded, removed_at, last_seen_at FROM ledger
WHERE server_id = :server_id AND sha256 = :sha256;

-- name: mark_content_removed
-- Record that the server no longer has a content.
UPDATE ledger SET removed_at = :now WHERE server_id = :server_id AND sha256 = :sha256 AND removed_at IS NULL;

-- name: mark_content_seen
-- Record that the server reported a content.
UPDATE ledger SET last_seen_at = :now, removed_at = NULL WHERE server_id = :server_id AND sha256 = :sha256;

-- name: mark_asset_removed
-- Record that the server no longer has an asset.
UPDATE ledger INDEXED BY ledger_by_asset SET removed_at = :now
WHERE server_id = :server_id AND asset_id = :asset_id AND removed_at IS NULL;

-- name: delete_content
-- Delete the ledger entry of a content.
DELETE FROM ledger WHERE server_id = :server_id AND sha256 = :sha256;

-- name: upload_location
-- Select the location at which the upload of a content resumes.
SELECT location FROM resumable_uploads WHERE server_id = :server_id AND sha256 = :sha256;

-- name: start_upload
-- Record the location of a resumable upload. A newer upload of the same content replaces the older one.
INSERT OR REPLACE INTO resumable_uploads (server_id, sha256, location, started_at)
VALUES (:server_id, :sha256, :location, :now);

-- name: delete_upload
-- Delete a resumable upload that is complete or cannot resume.
DELETE FROM resumable_uploads WHERE server_id = :server_id AND sha256 = :sha256;

-- name: current_account
-- Select the account that signed in last to the server with this URL.
SELECT id, account FROM servers INDEXED BY servers_current WHERE url = :url AND is_current = 1;

-- name: name_account
-- Name the account of a server whose tokens did not name one until now, unless that account is known.
UPDATE OR IGNORE servers INDEXED BY servers_current SET account = :account
WHERE url = :url AND is_current = 1 AND account IS NULL;

-- name: leave_account
-- Make no account of a server current, except one.
UPDATE servers INDEXED BY servers_current SET is_current = 0
WHERE url = :url AND is_current = 1 AND account IS NOT :account;

-- name: upsert_account
-- Make an account of a server current, and insert a new one.
INSERT INTO servers (url, account) VALUES (:url, :account)
ON CONFLICT (url, account) DO UPDATE SET is_current = 1
RETURNING id, account;

-- name: counts
-- Select the sums that the triggers maintain.
SELECT state, priority, duplicate, delayed, n, bytes FROM item_counts WHERE server_id = :server_id;

-- name: unsearchable_count
-- Select the number of failed items that the library has, but cannot find.
SELECT count(*) FROM items INDEXED BY items_failed
WHERE server_id = :server_id AND state = 'failed' AND error_code = 'embedding_failed';

-- name: items
-- Select the newest items before a cursor.
SELECT * FROM items WHERE id < :before AND server_id = :server_id ORDER BY id DESC LIMIT :limit;

-- name: items_after
-- Select the oldest items after a cursor.
SELECT * FROM items WHERE id > :after AND server_id = :server_id ORDER BY id LIMIT :limit;

-- name: items_by_state
-- Select the newest items in one state, merged from the three priorities of the index.
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 0 AND id < :before AND server_id = :server_id
UNION ALL
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 1 AND id < :before AND server_id = :server_id
UNION ALL
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 2 AND id < :before AND server_id = :server_id
ORDER BY id DESC LIMIT :limit;

-- name: items_by_state_after
-- Select the oldest items in one state after a cursor.
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 0 AND id > :after AND server_id = :server_id
UNION ALL
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 1 AND id > :after AND server_id = :server_id
UNION ALL
SELECT * FROM items INDEXED BY items_by_state_and_priority
WHERE state = :state AND priority = 2 AND id > :after AND server_id = :server_id
ORDER BY id LIMIT :limit;

-- name: items_by_folder
-- Select the newest items of one folder, in one state or in any.
SELECT * FROM items INDEXED BY items_by_folder
WHERE folder_id = :folder_id AND id < :before AND server_id = :server_id AND state = coalesce(:state, state)
ORDER BY id DESC LIMIT :limit;

-- name: items_by_folder_after
-- Select the oldest items of one folder after a cursor.
SELECT * FROM items INDEXED BY items_by_folder
WHERE folder_id = :folder_id AND id > :after AND server_id = :server_id AND state = coalesce(:state, state)
ORDER BY id LIMIT :limit;

-- name: items_by_error_code
-- Select the newest items with one error code, in one state and folder or in any.
SELECT * FROM items INDEXED BY items_by_error_code
WHERE error_code = :error_code AND id < :before AND server_id = :server_id AND state = coalesce(:state, state)
  AND folder_id IS coalesce(:folder_id, folder_id)
ORDER BY id DESC LIMIT :limit;

-- name: items_by_error_code_after
-- Select the oldest items with one error code after a cursor.
SELECT * FROM items INDEXED BY items_by_error_code
WHERE error_code = :error_code AND id > :after AND server_id = :server_id AND state = coalesce(:state, state)
  AND folder_id IS coalesce(:folder_id, folder_id)
ORDER BY id LIMIT :limit;

-- name: item
-- Select one item.
SELECT * FROM items WHERE id = :id AND server_id = :server_id;

-- name: superseded_at_path
-- Select the superseded items of a path, the newest first.
SELECT * FROM items WHERE server_id = :server_id AND path = :path AND latest = 0 ORDER BY id DESC;

-- name: attempts
-- Select the history of one item.
SELECT at, error_code, action, error_message FROM attempts WHERE item_id = :id ORDER BY id;

-- name: import_progress
-- Select the sums of the items that one import queued.
SELECT state, duplicate, count(*) AS n, sum(size) AS bytes FROM items
WHERE import_id = :import_id GROUP BY state, duplicate;

-- name: joined_progress
-- Select the sums of the items that one import named and that were queued before.
SELECT state, duplicate, count(*) AS n, sum(size) AS bytes
FROM import_items CROSS JOIN items ON items.id = item_id
WHERE import_items.import_id = :import_id GROUP BY state, duplicate;

-- name: import_copies
-- Select the number of files of an import that are duplicates of another file of it, which the library did not have.
SELECT count(*) FROM items INDEXED BY items_by_import
WHERE import_id = :import_id AND duplicate = 1 AND asset_id IN (
  SELECT asset_id FROM items INDEXED BY items_by_import WHERE import_id = :import_id AND duplicate = 0);

-- name: import_errors
-- Select the number of files of an import that ended otherwise than ready, by error code.
SELECT error_code, count(*) AS n FROM (
  SELECT error_code FROM items INDEXED BY items_by_import
  WHERE import_id = :import_id AND state IN ('failed', 'skipped', 'missing')
  UNION ALL
  SELECT error_code FROM import_items CROSS JOIN items ON items.id = item_id
  WHERE import_items.import_id = :import_id AND state IN ('failed', 'skipped', 'missing'))
WHERE error_code IS NOT NULL GROUP BY error_code;

-- name: import_first_due
-- Select the time at which the first pending item of an import is due, if all of them are delayed.
SELECT CASE WHEN NOT EXISTS (
  SELECT 1 FROM items INDEXED BY items_by_import WHERE import_id = :import_id AND state = 'pending' AND next_at IS NULL
) AND NOT EXISTS (
  SELECT 1 FROM import_items CROSS JOIN items ON items.id = item_id
  WHERE import_items.import_id = :import_id AND state = 'pending' AND next_at IS NULL
) THEN (
  SELECT min(next_at) FROM (
    SELECT next_at FROM items INDEXED BY items_by_import WHERE import_id = :import_id AND state = 'pending'
    UNION ALL
    SELECT next_at FROM import_items CROSS JOIN items ON items.id = item_id
    WHERE import_items.import_id = :import_id AND state = 'pending')
) END;

-- name: import_is_scanning
-- Check for a path of an import that still has to be scanned.
SELECT EXISTS (SELECT 1 FROM import_roots WHERE import_id = :import_id AND finished_at IS NULL);

-- name: events
-- Select the item events after a sequence number.
SELECT seq, at, item_id, events.state, path, error_code, error_message, accepted_at, priority, size
FROM events JOIN items ON items.id = item_id
WHERE seq > :since ORDER BY seq LIMIT :limit;

-- name: newest_event
-- Select the sequence number of the newest event.
SELECT coalesce(max(seq), 0) FROM events;

-- name: oldest_event
-- Select the sequence number of the oldest event that is kept.
SELECT coalesce(min(seq), 0) FROM events;

-- name: paths_by_asset_id
-- Select the paths of the files of these assets.
SELECT asset_id, path FROM items
WHERE server_id = :server_id AND asset_id IN (SELECT value FROM json_each(:asset_ids)) AND latest = 1
ORDER BY id;

-- name: setting
-- Select one setting.
SELECT value FROM settings WHERE name = :name;

-- name: set_setting
-- Insert or change one setting.
INSERT INTO settings (name, value, updated_at) VALUES (:name, :value, :now)
ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at;

-- name: prune_events
-- Delete one batch of the oldest events above the limit.
DELETE FROM events WHERE seq IN (
  SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - :keep ORDER BY seq LIMIT :limit)
RETURNING seq;

-- name: prune_idempotency_keys
-- Delete one batch of expired responses.
DELETE FROM idempotency_keys WHERE key IN (
  SELECT key FROM idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :limit)
RETURNING key;

-- name: prune_uploads
-- Delete one batch of resumable uploads that the server has expired.
DELETE FROM resumable_uploads WHERE (server_id, sha256) IN (
  SELECT server_id, sha256 FROM resumable_uploads WHERE started_at < :before ORDER BY started_at LIMIT :limit)
RETURNING sha256;

-- name: prune_imports
-- Delete one batch of imports that were scanned long ago.
DELETE FROM imports WHERE id IN (
  SELECT id FROM imports
  WHERE added_at < :before
    AND NOT EXISTS (
      SELECT 1 FROM import_roots WHERE import_id = imports.id AND (finished_at IS NULL OR finished_at >= :before))
  LIMIT :limit)
RETURNING id;
