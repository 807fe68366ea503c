-- Every statement of the store, by name. A test explains each of them: none may walk over the table of items.
-- INDEXED BY holds SQLite to the index that was made for a question, whatever its statistics say: with few rows it
-- guesses wrong, and keeps its plan when there are many. NOT INDEXED leaves the ids alone to lead to the rows.

-- name: claimable
-- The next items of one shard and one class, first in, first out.
SELECT * FROM items INDEXED BY items_claimable
WHERE server_id = :server_id AND shard = :shard AND priority = :priority AND state = 'pending' AND next_at IS NULL
ORDER BY added_at, id LIMIT :limit;

-- name: is_urgent
-- Whether anything is.
SELECT 1 FROM items INDEXED BY items_urgent
WHERE server_id = :server_id AND priority = 0 AND state = 'pending' AND next_at IS NULL LIMIT 1;

-- name: urgent
-- The next urgent items of any shard.
SELECT * FROM items INDEXED BY items_urgent
WHERE server_id = :server_id AND priority = 0 AND state = 'pending' AND next_at IS NULL
ORDER BY added_at, id LIMIT :limit;

-- name: claim
-- What was found to be next.
UPDATE items NOT INDEXED SET state = 'uploading', lease = :token || '.' || id, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: accept
-- The library has the bytes. When they are searchable already, there is nothing left to ask.
UPDATE items SET state = iif(:embedded, 'ready', 'embedding'), lease = NULL, next_at = iif(:embedded, NULL, :now),
  asset_id = :asset_id, sha256 = :sha256, duplicate = :duplicate, accepted_at = :now, fault = NULL, reason = NULL,
  updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease;

-- name: stage_taken
-- One of a group that the library has.
INSERT INTO temp.taken VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: ours_taken
-- Those of the group that are still leased to whoever says so.
SELECT n FROM temp.taken CROSS JOIN items ON items.id = taken.id
WHERE items.state = 'uploading' AND items.lease = taken.lease;

-- name: unstage_taken
-- One that is not.
DELETE FROM temp.taken WHERE n = ?;

-- name: accept_taken
-- The same as `accept`, of the group.
UPDATE items NOT INDEXED SET state = iif(taken.embedded, 'ready', 'embedding'), lease = NULL,
  next_at = iif(taken.embedded, NULL, :now), asset_id = taken.asset_id, sha256 = taken.sha256,
  duplicate = taken.duplicate, accepted_at = :now, fault = NULL, reason = NULL, updated_at = :now
FROM temp.taken WHERE items.id = taken.id;

-- name: remember_taken
-- What the server now has of the group.
INSERT INTO contents (server_id, sha256, asset_id, ready, seen_at)
SELECT :server_id, sha256, asset_id, embedded, :now FROM temp.taken WHERE true ORDER BY n
ON CONFLICT DO UPDATE SET ready = iif(asset_id = excluded.asset_id, max(ready, excluded.ready), excluded.ready),
  asset_id = excluded.asset_id, removed_at = NULL, seen_at = excluded.seen_at;

-- name: clear_taken
-- The group is written.
DELETE FROM temp.taken;

-- name: retry
-- The item's own try failed. It keeps its place in time.
UPDATE items SET state = 'pending', lease = NULL, next_at = :next_at, attempts = attempts + 1, fault = :fault,
  reason = :reason, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: wait
-- Not the item's fault: its tries stay as they are.
UPDATE items SET state = 'pending', lease = NULL, next_at = :next_at, fault = :fault, reason = :reason, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: bury
-- To the dead letters.
UPDATE items SET state = 'dead', lease = NULL, attempts = attempts + 1, fault = :fault, reason = :reason,
  updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 1
RETURNING id;

-- name: skip
-- Not to be sent, and nobody needs to look.
UPDATE items SET state = 'skipped', lease = NULL, fault = :fault, reason = :reason, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease
RETURNING id;

-- name: vanish
-- The file is no longer where it was when it was claimed.
UPDATE items SET state = 'gone', lease = NULL, fault = 'vanished', reason = :reason, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND path = :path
RETURNING id;

-- name: yield_path
-- What would go on waiting, but has lost its path to another file meanwhile, has nothing left to wait for.
UPDATE items SET state = 'gone', lease = NULL, fault = 'vanished', reason = :reason, updated_at = :now
WHERE id = :id AND state = 'uploading' AND lease = :lease AND latest = 0
RETURNING id;

-- name: revise
-- The file at this path has become another version: it starts afresh.
UPDATE items SET size = :size, mtime_ns = :mtime_ns, device = :device, inode = :inode, next_at = :next_at, attempts = 0,
  sha256 = NULL, asset_id = NULL, fault = NULL, reason = NULL, add_id = coalesce(:add_id, add_id), updated_at = :now
WHERE id = :id AND path = :path AND state = 'pending';

-- name: note_attempt
-- One line of an item's story.
INSERT INTO attempts (item_id, at, fault, verdict, reason) VALUES (:id, :now, :fault, :verdict, :reason);

-- name: remember_content
-- What the server now has.
INSERT INTO contents (server_id, sha256, asset_id, ready, seen_at)
VALUES (:server_id, :sha256, :asset_id, :embedded, :now)
ON CONFLICT DO UPDATE SET ready = iif(asset_id = excluded.asset_id, max(ready, excluded.ready), excluded.ready),
  asset_id = excluded.asset_id, removed_at = NULL, seen_at = excluded.seen_at;

-- name: pardon
-- The server was sick, not they.
UPDATE items NOT INDEXED SET attempts = attempts - 1, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'pending' AND attempts > 0
RETURNING id;

-- name: give_back
-- Claims whose callers were gone before they learned of them: a range of leases.
UPDATE items INDEXED BY items_leased SET state = iif(latest, 'pending', 'gone'), lease = NULL, fault = iif(latest, fault, 'vanished'),
  reason = iif(latest, reason, :superseded), updated_at = :now
WHERE state = 'uploading' AND lease BETWEEN :first AND :last;

-- name: recover
-- What another boot had leased: its daemon is dead, the lock proves it.
UPDATE items INDEXED BY items_leased SET state = iif(latest, 'pending', 'gone'), lease = NULL, fault = iif(latest, 'disturbed', 'vanished'),
  reason = iif(latest, :reason, :superseded), updated_at = :now
WHERE state = 'uploading' AND lease > '' AND substr(lease, 1, length(:boot) + 1) <> :boot || ':'
RETURNING id, fault, reason;

-- name: promote
-- Delayed items whose time has come, the earliest first.
UPDATE items SET next_at = NULL, updated_at = :now
WHERE id IN (
  SELECT id FROM items INDEXED BY items_delayed
  WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL AND next_at <= :now
  ORDER BY next_at LIMIT :limit)
RETURNING id;

-- name: bound_delays
-- What would wait longer than anything may: the clock has been set back meanwhile. It is due.
UPDATE items SET next_at = NULL, updated_at = :now
WHERE id IN (
  SELECT id FROM items INDEXED BY items_delayed
  WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL AND next_at > :latest
  LIMIT :limit)
RETURNING id;

-- name: bound_embeddings
-- The same of what is to be asked about; and nothing was accepted in the future.
UPDATE items SET next_at = :now, accepted_at = min(accepted_at, :now)
WHERE id IN (
  SELECT id FROM items INDEXED BY items_to_ask
  WHERE server_id = :server_id AND state = 'embedding' AND next_at > :latest
  LIMIT :limit)
RETURNING id;

-- name: next_due
-- When the first of the delayed items is due.
SELECT min(next_at) FROM items INDEXED BY items_delayed
WHERE server_id = :server_id AND state = 'pending' AND next_at IS NOT NULL;

-- name: due_embeddings
-- What the server is to be asked about now, the oldest first.
SELECT id, asset_id, accepted_at FROM items INDEXED BY items_embedding
WHERE server_id = :server_id AND state = 'embedding' AND next_at <= :now
ORDER BY accepted_at, id LIMIT :limit;

-- name: embeddings_of
-- What the server still works on, of these assets.
SELECT id, asset_id, accepted_at FROM items INDEXED BY items_by_asset
WHERE server_id = :server_id AND asset_id IN (SELECT value FROM json_each(:asset_ids)) AND state = 'embedding';

-- name: next_embedding_due
-- When the server is to be asked next.
SELECT min(next_at) FROM items INDEXED BY items_to_ask
WHERE server_id = :server_id AND state = 'embedding';

-- name: ask_again
-- The server is still working on it.
UPDATE items SET next_at = :next_at WHERE id = :id AND server_id = :server_id AND state = 'embedding';

-- name: finish
-- Searchable.
UPDATE items NOT INDEXED SET state = 'ready', next_at = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'embedding'
RETURNING sha256;

-- name: content_is_ready
-- The content was searchable at least once.
UPDATE contents SET ready = 1 WHERE server_id = :server_id AND sha256 = :sha256;

-- name: embedding_failed
-- The library has it, but could not make it searchable.
UPDATE items SET state = iif(latest, 'dead', 'skipped'), next_at = NULL, fault = :fault, reason = :reason,
  updated_at = :now
WHERE id = :id AND server_id = :server_id AND state = 'embedding'
RETURNING id;

-- name: removed_while_embedding
-- Removed on the server before it was searchable.
UPDATE items SET state = 'skipped', next_at = NULL, fault = :fault, reason = :reason, updated_at = :now
WHERE id = :id AND server_id = :server_id AND state = 'embedding'
RETURNING sha256;

-- name: revive
-- A fresh start, and before all others.
UPDATE items NOT INDEXED SET state = 'pending', priority = 0, attempts = 0, next_at = NULL, duplicate = 0, fault = NULL,
  reason = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state IN ('dead', 'skipped', 'gone')
  AND latest = 1
RETURNING id;

-- name: dead_after
-- One batch of dead letters.
SELECT id FROM items INDEXED BY items_by_state_and_priority
WHERE state = 'dead' AND priority = 0 AND id > :after AND server_id = :server_id
UNION ALL
SELECT id FROM items INDEXED BY items_by_state_and_priority
WHERE state = 'dead' AND priority = 1 AND id > :after AND server_id = :server_id
UNION ALL
SELECT id FROM items INDEXED BY items_by_state_and_priority
WHERE state = 'dead' AND priority = 2 AND id > :after AND server_id = :server_id
ORDER BY id LIMIT :limit;

-- name: dead_of_fault_after
-- One batch of the dead letters of one kind.
SELECT id FROM items INDEXED BY items_dead
WHERE server_id = :server_id AND state = 'dead' AND fault = :fault AND id > :after
ORDER BY id LIMIT :limit;

-- name: bump
-- To the front.
UPDATE items NOT INDEXED SET priority = 0, next_at = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state = 'pending'
RETURNING id;

-- name: forget
-- Out of the queue; never off the disk or the server.
UPDATE items NOT INDEXED SET state = 'skipped', next_at = NULL, fault = 'forgotten', reason = :reason, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND server_id = :server_id AND state IN ('pending', 'dead', 'gone')
RETURNING id;

-- name: latest_at_path
-- Who is at this path?
SELECT * FROM items WHERE server_id = :server_id AND path = :path AND latest = 1;

-- name: version_at_path
-- Which version of a file is at this path, and how far has it come?
SELECT id, state, folder_id, size, mtime_ns, device, inode FROM items
WHERE server_id = ? AND path = ? AND latest = 1;

-- name: is_known
-- Whether anything is known of a path, or of an inode.
SELECT 1 FROM items INDEXED BY items_latest WHERE server_id = ? AND path = ? AND latest = 1
UNION ALL
SELECT 1 FROM items INDEXED BY items_by_inode WHERE device = ? AND inode = ? AND latest = 1
LIMIT 1;

-- name: former_places
-- Where has this very file been before?
SELECT * FROM items
WHERE server_id = :server_id AND device = :device AND inode = :inode AND size = :size AND mtime_ns = :mtime_ns
  AND latest = 1
ORDER BY id;

-- name: insert_item
-- A new file, or a new version of one.
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, next_at,
  folder_id, add_id, tags, force, after)
VALUES (:server_id, :path, :size, :mtime_ns, :device, :inode, :priority, :shard, :now, :now, :next_at,
  :folder_id, :add_id, :tags, :force, :after)
RETURNING id;

-- name: stage_found
-- One of a group of files at paths where nothing was known.
INSERT INTO temp.found (path, size, mtime_ns, device, inode, shard, settles_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: unstage_former
-- Those that may have been elsewhere before.
DELETE FROM temp.found WHERE EXISTS (
  SELECT 1 FROM items INDEXED BY items_by_inode
  WHERE items.server_id = :server_id AND items.device = found.device AND items.inode = found.inode
    AND items.latest = 1);

-- name: insert_found
-- All of the group, as `insert_item` does it.
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, next_at,
  folder_id, add_id, tags, force, after)
SELECT :server_id, path, size, mtime_ns, device, inode, :priority, shard, :now, :now, settles_at,
  :folder_id, :add_id, :tags, :force, :after
FROM temp.found ORDER BY n
RETURNING path, id;

-- name: clear_found
-- The group is written.
DELETE FROM temp.found;

-- name: supersede
-- Another version or another file has taken the path: nobody waits for this one any more.
UPDATE items SET latest = 0, updated_at = :now,
  next_at = iif(state = 'pending', NULL, next_at),
  fault = iif(state IN ('pending', 'dead'), 'vanished', fault),
  reason = iif(state IN ('pending', 'dead'), :superseded, reason),
  state = CASE state WHEN 'pending' THEN 'gone' WHEN 'dead' THEN 'skipped' ELSE state END
WHERE id = :id;

-- name: rename
-- The same file in another place: only its path changes.
UPDATE items SET path = :path, folder_id = coalesce(:folder_id, folder_id), updated_at = :now WHERE id = :id;

-- name: renumber
-- The same file at its path, on a disk that has got another number.
UPDATE items SET device = :device WHERE id = :id;

-- name: come_back
-- A file that was gone is there again.
UPDATE items SET state = 'pending', priority = :priority, attempts = 0, next_at = :next_at, fault = NULL, reason = NULL,
  add_id = coalesce(:add_id, add_id), updated_at = :now
WHERE id = :id AND state = 'gone';

-- name: join_folder
-- A known file without a folder belongs to the one it was found in.
UPDATE items SET folder_id = :folder_id WHERE id = :id AND folder_id IS NULL;

-- name: join_add
-- What is still on its way when it is named again belongs to the call that named it, and is no later than that asks.
UPDATE items SET add_id = :add_id, priority = iif(state = 'pending', min(priority, :priority), priority)
WHERE id = :id AND state IN ('pending', 'uploading', 'embedding');

-- name: wish
-- What is to become of the file once the library has it.
UPDATE items SET after = :after WHERE id = :id;

-- name: wishes
-- Files that the library has and that are not to stay where they are.
SELECT * FROM items INDEXED BY items_wished
WHERE server_id = :server_id AND after IS NOT NULL AND state = 'ready' AND latest = 1 AND id > :beyond
ORDER BY id LIMIT :limit;

-- name: begin_move
-- Written down before the file is touched, if it is still wanted.
INSERT INTO moves (item_id, source, target, trashed, note, size, mtime_ns, device, inode, state, at)
SELECT id, path, :target, :trashed, :note, size, mtime_ns, device, inode, 'going', :now FROM items
WHERE id = :id AND path = :source AND after IS NOT NULL AND state = 'ready' AND latest = 1
RETURNING *;

-- name: begin_return
-- The same, for the way back.
UPDATE moves SET state = 'returning', source = :source, at = :now WHERE id = :id AND state = 'there' RETURNING *;

-- name: end_move
-- Where the file is now.
UPDATE moves SET state = :state, at = :now WHERE id = :id AND state IN ('going', 'returning') RETURNING *;

-- name: moves_under_way
-- What a crash has interrupted.
SELECT * FROM moves INDEXED BY moves_under_way WHERE state IN ('going', 'returning') ORDER BY id;

-- name: move_of_item
-- Where the file of this item was put.
SELECT * FROM moves INDEXED BY moves_by_item WHERE item_id = :id AND state = 'there' ORDER BY id DESC LIMIT 1;

-- name: last_move
-- The file that was put away last and has not come back.
SELECT * FROM moves INDEXED BY moves_there WHERE state = 'there' ORDER BY id DESC LIMIT 1;

-- name: add_by_key
-- The add of a command that was sent before.
SELECT id, priority, tags, force, after FROM adds WHERE server_id = :server_id AND key = :key;

-- name: insert_add
-- One command to add.
INSERT INTO adds (server_id, key, priority, tags, force, after, added_at)
VALUES (:server_id, :key, :priority, :tags, :force, :after, :now)
RETURNING id, priority, tags, force, after;

-- name: insert_root
-- One path that an add named. A folder that is watched owns what is found in it.
INSERT INTO roots (add_id, path, folder_id) VALUES (:add_id, :path, (SELECT id FROM folders WHERE path = :path))
ON CONFLICT DO NOTHING;

-- name: roots_left
-- What has still to be walked.
SELECT roots.id, add_id, path, folder_id FROM roots INDEXED BY roots_left JOIN adds ON adds.id = add_id
WHERE done_at IS NULL AND server_id = :server_id
ORDER BY roots.id;

-- name: root_done
-- Walked to its end.
UPDATE roots SET done_at = :now WHERE id = :id AND done_at IS NULL;

-- name: add
-- The options of one add.
SELECT id, priority, tags, force, after FROM adds WHERE id = :id AND server_id = :server_id;

-- name: reply
-- The answer that a command was given.
SELECT reply FROM replies WHERE key = :key;

-- name: remember_reply
-- The first answer stays.
INSERT INTO replies (key, reply, at) VALUES (:key, :reply, :now) ON CONFLICT DO NOTHING;

-- name: watch
-- A watched folder, as it is wanted now.
INSERT INTO folders (path, device, inode, priority, tags, after, added_at)
VALUES (:path, :device, :inode, :priority, :tags, :after, :now)
ON CONFLICT DO UPDATE SET device = excluded.device, inode = excluded.inode, priority = excluded.priority,
  tags = excluded.tags, after = excluded.after
RETURNING *;

-- name: folder_at_path
-- The watched folder at this path.
SELECT id FROM folders WHERE path = :path;

-- name: leave_folder
-- One batch of the items of a folder leaves it.
UPDATE items SET folder_id = NULL WHERE id IN (SELECT id FROM items WHERE folder_id = :folder_id LIMIT :limit)
RETURNING id;

-- name: unwatch
-- No longer watched.
DELETE FROM folders WHERE id = :folder_id;

-- name: folders
-- All watched folders.
SELECT * FROM folders ORDER BY path;

-- name: looked
-- A full look at the folder has ended.
UPDATE folders SET scanned_at = :now WHERE id = :id;

-- name: upheavals
-- How often what may be remembered of folders was changed.
SELECT n FROM upheavals;

-- name: content
-- What the server has, or had, of these bytes.
SELECT sha256, asset_id, ready, removed_at, seen_at FROM contents WHERE server_id = :server_id AND sha256 = :sha256;

-- name: content_removed
-- The server no longer has this content.
UPDATE contents SET removed_at = :now WHERE server_id = :server_id AND sha256 = :sha256 AND removed_at IS NULL;

-- name: content_seen
-- The server said that it has this content.
UPDATE contents SET seen_at = :now, removed_at = NULL WHERE server_id = :server_id AND sha256 = :sha256;

-- name: asset_removed
-- The server no longer has the content with this id.
UPDATE contents INDEXED BY contents_by_asset SET removed_at = :now
WHERE server_id = :server_id AND asset_id = :asset_id AND removed_at IS NULL;

-- name: forget_content
-- As if the server had never had it.
DELETE FROM contents WHERE server_id = :server_id AND sha256 = :sha256;

-- name: upload_of_content
-- Where the upload of a content goes on.
SELECT path FROM uploads WHERE server_id = :server_id AND sha256 = :sha256;

-- name: begin_upload
-- Of two that were begun, the later one goes on.
INSERT OR REPLACE INTO uploads (server_id, sha256, path, begun_at) VALUES (:server_id, :sha256, :path, :now);

-- name: end_upload
-- It is complete, or goes on no more.
DELETE FROM uploads WHERE server_id = :server_id AND sha256 = :sha256;

-- name: server_at_url
-- The server at this address.
SELECT id FROM servers WHERE url = :url;

-- name: insert_server
-- A server that is met for the first time.
INSERT INTO servers (url) VALUES (:url) RETURNING id;

-- name: counts
-- The sums that the triggers keep.
SELECT state, priority, duplicate, delayed, n, bytes FROM counts WHERE server_id = :server_id;

-- name: items
-- The newest items.
SELECT * FROM items WHERE id < :before AND server_id = :server_id ORDER BY id DESC LIMIT :limit;

-- name: items_after
-- The oldest items after one of them.
SELECT * FROM items WHERE id > :after AND server_id = :server_id ORDER BY id LIMIT :limit;

-- name: items_by_state
-- The newest items in one state, out of those of each class.
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
-- The same in one state.
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
-- The newest items of one folder, in one state or in any.
SELECT * FROM items INDEXED BY items_by_folder
WHERE folder_id = :folder_id AND id < :before AND server_id = :server_id AND state = coalesce(:state, state)
ORDER BY id DESC LIMIT :limit;

-- name: items_by_folder_after
-- The same of one folder.
SELECT * FROM items INDEXED BY items_by_folder
WHERE folder_id = :folder_id AND id > :after AND server_id = :server_id AND state = coalesce(:state, state)
ORDER BY id LIMIT :limit;

-- name: items_by_fault
-- The newest items with one fault, in one state and folder or in any.
SELECT * FROM items INDEXED BY items_by_fault
WHERE fault = :fault AND id < :before AND server_id = :server_id AND state = coalesce(:state, state)
  AND folder_id IS coalesce(:folder_id, folder_id)
ORDER BY id DESC LIMIT :limit;

-- name: items_by_fault_after
-- The same with one fault.
SELECT * FROM items INDEXED BY items_by_fault
WHERE fault = :fault AND id > :after AND server_id = :server_id AND state = coalesce(:state, state)
  AND folder_id IS coalesce(:folder_id, folder_id)
ORDER BY id LIMIT :limit;

-- name: item
-- One item.
SELECT * FROM items WHERE id = :id AND server_id = :server_id;

-- name: former_at_path
-- The earlier versions of the file at this path, and the earlier files.
SELECT * FROM items WHERE server_id = :server_id AND path = :path AND latest = 0 ORDER BY id DESC;

-- name: attempts
-- The story of one item.
SELECT at, fault, verdict, reason FROM attempts WHERE item_id = :id ORDER BY id;

-- name: progress
-- How far one add has come.
SELECT state, duplicate, count(*) AS n, sum(size) AS bytes FROM items WHERE add_id = :add_id GROUP BY state, duplicate;

-- name: first_due
-- When the first pending item of an add is due, if all of them wait for a time of their own.
SELECT CASE WHEN NOT EXISTS (
  SELECT 1 FROM items INDEXED BY items_by_add WHERE add_id = :add_id AND state = 'pending' AND next_at IS NULL
) THEN (SELECT min(next_at) FROM items INDEXED BY items_by_add WHERE add_id = :add_id AND state = 'pending') END;

-- name: walking
-- Whether an add has still something to walk.
SELECT EXISTS (SELECT 1 FROM roots WHERE add_id = :add_id AND done_at IS NULL);

-- name: events
-- What has changed since.
SELECT seq, at, item_id, events.state, path, fault, reason, accepted_at FROM events JOIN items ON items.id = item_id
WHERE seq > :since ORDER BY seq LIMIT :limit;

-- name: newest_event
-- The end of the news.
SELECT coalesce(max(seq), 0) FROM events;

-- name: oldest_event
-- The beginning of what is still kept of the news.
SELECT coalesce(min(seq), 0) FROM events;

-- name: by_assets
-- Where the files of these assets are.
SELECT asset_id, path FROM items
WHERE server_id = :server_id AND asset_id IN (SELECT value FROM json_each(:asset_ids)) AND latest = 1
ORDER BY id;

-- name: setting
-- One setting.
SELECT value FROM settings WHERE name = :name;

-- name: set_setting
-- One setting, kept over a restart.
INSERT INTO settings (name, value, updated_at) VALUES (:name, :value, :now)
ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at;

-- name: prune_events
-- The oldest of the news beyond what is kept.
DELETE FROM events WHERE seq IN (
  SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - :keep ORDER BY seq LIMIT :limit)
RETURNING seq;

-- name: prune_replies
-- Answers that nobody will ask for again.
DELETE FROM replies WHERE key IN (SELECT key FROM replies WHERE at < :before ORDER BY at LIMIT :limit) RETURNING key;

-- name: prune_uploads
-- Uploads that no server keeps for so long.
DELETE FROM uploads WHERE (server_id, sha256) IN (
  SELECT server_id, sha256 FROM uploads WHERE begun_at < :before ORDER BY begun_at LIMIT :limit)
RETURNING sha256;

-- name: prune_adds
-- Adds that were walked to their end long ago.
DELETE FROM adds WHERE id IN (
  SELECT id FROM adds
  WHERE added_at < :before
    AND NOT EXISTS (SELECT 1 FROM roots WHERE add_id = adds.id AND (done_at IS NULL OR done_at >= :before))
  LIMIT :limit)
RETURNING id;
