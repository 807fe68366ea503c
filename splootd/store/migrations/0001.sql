-- The first schema. Times are seconds since the epoch (UTC); paths are the bytes the system gave; tags are JSON arrays.

-- Each account of a server has items and a ledger of its own: what one account has is in no other's library.
CREATE TABLE servers (
  id          INTEGER PRIMARY KEY,
  url         TEXT NOT NULL,
  account     TEXT,                          -- the user id in its tokens; NULL until a token names it
  is_current  INTEGER NOT NULL DEFAULT 1,    -- 1 for the account that signed in last
  CONSTRAINT servers_is_current_boolean CHECK (is_current IN (0, 1)),
  CONSTRAINT servers_account_unique UNIQUE (url, account)
) STRICT;
CREATE UNIQUE INDEX servers_current ON servers (url) WHERE is_current = 1;

CREATE TABLE folders (
  id            INTEGER PRIMARY KEY AUTOINCREMENT, -- SQLite never reuses an id: items outlive their folder
  path          BLOB NOT NULL UNIQUE,
  device        INTEGER NOT NULL,
  inode         INTEGER NOT NULL,
  priority      INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
  tags          TEXT NOT NULL,
  added_at      REAL NOT NULL,
  scanned_at    REAL,
  last_new_at   REAL,                       -- a trigger maintains this column
  after_upload  BLOB                        -- 'trash', or 'move:' and a folder; NULL keeps the file where it is
) STRICT;

CREATE TABLE imports (
  id               INTEGER PRIMARY KEY AUTOINCREMENT, -- SQLite never reuses an id: items outlive their import
  server_id        INTEGER NOT NULL REFERENCES servers (id),
  idempotency_key  TEXT NOT NULL,
  priority         INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
  tags             TEXT NOT NULL,
  force            INTEGER NOT NULL CHECK (force IN (0, 1)),
  added_at         REAL NOT NULL,
  after_upload     BLOB,
  CONSTRAINT imports_idempotency_key_unique UNIQUE (server_id, idempotency_key)
) STRICT;

-- The paths of an import. A row without finished_at still has to be scanned.
CREATE TABLE import_roots (
  id           INTEGER PRIMARY KEY,
  import_id    INTEGER NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
  path         BLOB NOT NULL,
  folder_id    INTEGER REFERENCES folders (id) ON DELETE SET NULL,
  finished_at  REAL,
  CONSTRAINT import_roots_path_unique UNIQUE (import_id, path)
) STRICT;
CREATE INDEX import_roots_by_folder ON import_roots (folder_id) WHERE folder_id IS NOT NULL;
CREATE INDEX import_roots_unfinished ON import_roots (id) WHERE finished_at IS NULL;

-- rows.item_from_row unpacks a row by position: the order of these columns must not change.
CREATE TABLE items (
  id             INTEGER PRIMARY KEY,
  server_id      INTEGER NOT NULL REFERENCES servers (id),
  path           BLOB NOT NULL,
  latest         INTEGER NOT NULL DEFAULT 1, -- 1 until another version or another file takes over the path
  size           INTEGER NOT NULL,
  mtime_ns       INTEGER NOT NULL,
  device         INTEGER NOT NULL,
  inode          INTEGER NOT NULL,
  state          TEXT NOT NULL DEFAULT 'pending',
  priority       INTEGER NOT NULL,
  shard          INTEGER NOT NULL,
  added_at       REAL NOT NULL,
  updated_at     REAL NOT NULL,
  next_at        REAL,                       -- pending: the earliest next attempt; embedding: the next poll
  attempts       INTEGER NOT NULL DEFAULT 0,
  lease          TEXT,                       -- instance_id ':' token '.' item id
  sha256         BLOB,
  asset_id       TEXT,
  accepted_at    REAL,
  duplicate      INTEGER NOT NULL DEFAULT 0,
  error_code     TEXT,
  error_message  TEXT,
  folder_id      INTEGER REFERENCES folders (id),
  import_id      INTEGER,                    -- the import that queued it; no foreign key: pruning keeps the items
  tags           TEXT NOT NULL,
  force          INTEGER NOT NULL,
  after_upload   BLOB,                       -- NULL again when the action is done or cancelled
  embedding_requested INTEGER NOT NULL DEFAULT 1, -- 0: the server has the content, but may never have begun on it
  attempted      INTEGER NOT NULL DEFAULT 0, -- 1 from the first claim on: its content may have been sent
  CONSTRAINT items_state_valid
    CHECK (state IN ('pending', 'uploading', 'embedding', 'ready', 'failed', 'missing', 'skipped')),
  CONSTRAINT items_priority_valid CHECK (priority IN (0, 1, 2)),
  CONSTRAINT items_shard_in_range CHECK (shard BETWEEN 0 AND 15),
  CONSTRAINT items_flags_boolean CHECK (latest IN (0, 1) AND duplicate IN (0, 1) AND force IN (0, 1)
    AND embedding_requested IN (0, 1) AND attempted IN (0, 1)),
  CONSTRAINT items_path_not_empty CHECK (length(path) > 0),
  CONSTRAINT items_size_not_negative CHECK (size >= 0),
  CONSTRAINT items_attempts_not_negative CHECK (attempts >= 0),
  CONSTRAINT items_sha256_length CHECK (sha256 IS NULL OR length(sha256) = 32),
  CONSTRAINT items_leased_iff_uploading CHECK ((state = 'uploading') = (lease IS NOT NULL)),
  CONSTRAINT items_next_at_only_if_waiting CHECK (next_at IS NULL OR state IN ('pending', 'embedding')),
  CONSTRAINT items_embedding_has_next_poll
    CHECK (state <> 'embedding' OR (next_at IS NOT NULL AND accepted_at IS NOT NULL)),
  CONSTRAINT items_stored_has_asset_id
    CHECK (state NOT IN ('embedding', 'ready') OR (asset_id IS NOT NULL AND sha256 IS NOT NULL)),
  CONSTRAINT items_ended_has_error_code CHECK (state NOT IN ('failed', 'missing', 'skipped') OR error_code IS NOT NULL),
  CONSTRAINT items_error_code_has_message CHECK ((error_code IS NULL) = (error_message IS NULL)),
  CONSTRAINT items_superseded_not_pending_or_failed CHECK (latest = 1 OR state NOT IN ('pending', 'failed'))
) STRICT;

-- These indexes find the versions of a path. At most one version is the latest.
CREATE UNIQUE INDEX items_latest ON items (server_id, path) WHERE latest = 1;
CREATE INDEX items_superseded ON items (server_id, path) WHERE latest = 0;
-- This index finds a renamed file by its inode.
CREATE INDEX items_by_inode ON items (device, inode) WHERE latest = 1;
-- These partial indexes hold only the rows that a worker looks for next. A row leaves its index in the UPDATE that
-- changes its state, so a claim costs the same with ten rows and with a million. Delayed items have an index of their
-- own: in the index of the claimable ones, thousands of items that back off would stand before the first one to claim.
CREATE INDEX items_claimable ON items (server_id, shard, priority, added_at)
  WHERE state = 'pending' AND next_at IS NULL;
CREATE INDEX items_urgent ON items (server_id, added_at) WHERE state = 'pending' AND next_at IS NULL AND priority = 0;
CREATE INDEX items_delayed ON items (server_id, next_at) WHERE state = 'pending' AND next_at IS NOT NULL;
CREATE INDEX items_leased ON items (lease) WHERE state = 'uploading';
-- These indexes serve the embedding tracker: the oldest embeddings, and the time of the next poll.
CREATE INDEX items_embedding ON items (server_id, accepted_at, id, next_at) WHERE state = 'embedding';
CREATE INDEX items_embedding_by_next_at ON items (server_id, next_at) WHERE state = 'embedding';
-- This index serves the post-upload actions.
CREATE INDEX items_post_upload ON items (server_id) WHERE after_upload IS NOT NULL AND state = 'ready' AND latest = 1;
-- These indexes serve the lists. SQLite appends the id to each of them, so they return pages in the order of the ids.
CREATE INDEX items_failed ON items (server_id, error_code) WHERE state = 'failed';
CREATE INDEX items_by_error_code ON items (error_code) WHERE error_code IS NOT NULL;
CREATE INDEX items_by_folder ON items (folder_id) WHERE folder_id IS NOT NULL;
CREATE INDEX items_by_import ON items (import_id, state, duplicate, size) WHERE import_id IS NOT NULL;
CREATE INDEX items_by_asset ON items (server_id, asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX items_by_added_at ON items (added_at);
-- One index serves the state alone and the state with the priority: a state change then moves one entry, not two.
CREATE INDEX items_by_state_and_priority ON items (state, priority);
CREATE INDEX items_by_priority ON items (priority);

-- The unfinished items that an import named, and that another import or a watched folder had queued before.
CREATE TABLE import_items (
  import_id  INTEGER NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
  item_id    INTEGER NOT NULL REFERENCES items (id),
  PRIMARY KEY (import_id, item_id)
) STRICT, WITHOUT ROWID;

-- The ledger records the contents that each server has, or had.
CREATE TABLE ledger (
  server_id     INTEGER NOT NULL REFERENCES servers (id),
  sha256        BLOB NOT NULL CONSTRAINT ledger_sha256_length CHECK (length(sha256) = 32),
  asset_id      TEXT NOT NULL,
  was_embedded  INTEGER NOT NULL CHECK (was_embedded IN (0, 1)), -- 1 once the content was searchable
  removed_at    REAL,
  last_seen_at  REAL,                                            -- the server's last report that it has the content
  PRIMARY KEY (server_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_by_asset ON ledger (server_id, asset_id);

CREATE TABLE attempts (
  id             INTEGER PRIMARY KEY,
  item_id        INTEGER NOT NULL REFERENCES items (id),
  at             REAL NOT NULL,
  error_code     TEXT NOT NULL,
  action         TEXT NOT NULL CHECK (action IN ('retry', 'snooze', 'discard', 'skip', 'file_missing')),
  error_message  TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_by_item ON attempts (item_id);

-- The sequence follows the order of the commits, so that a reader can resume after its last event. AUTOINCREMENT is
-- not needed: pruning never deletes the newest event, and the next number is the greatest one plus 1.
CREATE TABLE events (
  seq      INTEGER PRIMARY KEY,
  at       REAL NOT NULL,
  item_id  INTEGER NOT NULL,
  state    TEXT NOT NULL
) STRICT;

CREATE TABLE item_counts (
  server_id  INTEGER NOT NULL,
  state      TEXT NOT NULL,
  priority   INTEGER NOT NULL,
  duplicate  INTEGER NOT NULL,
  delayed    INTEGER NOT NULL,
  n          INTEGER NOT NULL CONSTRAINT item_counts_n_not_negative CHECK (n >= 0),
  bytes      INTEGER NOT NULL CONSTRAINT item_counts_bytes_not_negative CHECK (bytes >= 0),
  PRIMARY KEY (server_id, state, priority, duplicate, delayed)
) STRICT, WITHOUT ROWID;

CREATE TABLE folder_counts (
  server_id  INTEGER NOT NULL,
  folder_id  INTEGER NOT NULL REFERENCES folders (id) ON DELETE CASCADE,
  n          INTEGER NOT NULL CONSTRAINT folder_counts_n_not_negative CHECK (n >= 0),
  PRIMARY KEY (folder_id, server_id)
) STRICT, WITHOUT ROWID;

-- This table stores the responses to commands by their Idempotency-Key.
CREATE TABLE idempotency_keys (
  key         TEXT PRIMARY KEY,
  response    TEXT NOT NULL,
  created_at  REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_created_at ON idempotency_keys (created_at);

CREATE TABLE settings (
  name        TEXT PRIMARY KEY,
  value       TEXT NOT NULL,
  updated_at  REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- The journal of moved and trashed files. A row is written before its file is touched, so that recovery after a crash
-- can compare the row with the disk.
CREATE TABLE moves (
  id          INTEGER PRIMARY KEY,
  item_id     INTEGER NOT NULL REFERENCES items (id),
  source      BLOB NOT NULL,
  target      BLOB NOT NULL,
  is_trashed  INTEGER NOT NULL,
  info_path   BLOB,             -- the .trashinfo file that records the original path
  size        INTEGER NOT NULL, -- this and the next three columns are the file's version; a rename does not change it
  mtime_ns    INTEGER NOT NULL,
  device      INTEGER NOT NULL,
  inode       INTEGER NOT NULL,
  state       TEXT NOT NULL,
  updated_at  REAL NOT NULL,
  CONSTRAINT moves_state_valid CHECK (state IN ('moving', 'moved', 'restoring', 'restored', 'lost')),
  CONSTRAINT moves_is_trashed_boolean CHECK (is_trashed IN (0, 1))
) STRICT;
CREATE INDEX moves_by_item ON moves (item_id, id);
CREATE INDEX moves_in_progress ON moves (id) WHERE state IN ('moving', 'restoring');
CREATE INDEX moves_moved ON moves (id) WHERE state = 'moved';

-- This table stores where an unfinished tus upload of a content resumes.
CREATE TABLE resumable_uploads (
  server_id   INTEGER NOT NULL REFERENCES servers (id),
  sha256      BLOB NOT NULL CONSTRAINT resumable_uploads_sha256_length CHECK (length(sha256) = 32),
  location    TEXT NOT NULL, -- the path of the tus Location on that server
  started_at  REAL NOT NULL,
  PRIMARY KEY (server_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX resumable_uploads_by_started_at ON resumable_uploads (started_at);

-- The scan cache of the daemon is valid while this one number stays the same.
CREATE TABLE cache_epoch (value INTEGER NOT NULL) STRICT;
INSERT INTO cache_epoch VALUES (0);

-- The triggers below enforce the transitions of core/lifecycle.py. They compare states one by one: for an IN list of
-- more than two values, SQLite builds a temporary index for each row that fires the trigger.

CREATE TRIGGER items_inserted_pending BEFORE INSERT ON items
WHEN NEW.state <> 'pending'
BEGIN
  SELECT RAISE(ABORT, 'an item must be inserted as pending');
END;

CREATE TRIGGER items_state_transition BEFORE UPDATE OF state ON items
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
  WHEN 'pending' THEN NEW.state = 'uploading' OR NEW.state = 'missing' OR NEW.state = 'skipped'
  WHEN 'uploading' THEN TRUE
  WHEN 'embedding' THEN NEW.state = 'ready' OR NEW.state = 'failed' OR NEW.state = 'skipped'
  WHEN 'failed' THEN NEW.state = 'pending' OR NEW.state = 'skipped'
  WHEN 'missing' THEN NEW.state = 'pending' OR NEW.state = 'skipped'
  WHEN 'skipped' THEN NEW.state = 'pending'
  ELSE FALSE
END
BEGIN
  SELECT RAISE(ABORT, 'invalid state transition');
END;

CREATE TRIGGER items_no_delete BEFORE DELETE ON items
BEGIN
  SELECT RAISE(ABORT, 'items cannot be deleted');
END;

-- These triggers write events in the transaction of the change itself.

CREATE TRIGGER events_on_insert AFTER INSERT ON items
BEGIN
  INSERT INTO events (at, item_id, state) VALUES (NEW.updated_at, NEW.id, NEW.state);
END;

CREATE TRIGGER events_on_update AFTER UPDATE OF state, priority, path ON items
WHEN NEW.state <> OLD.state OR NEW.priority <> OLD.priority OR NEW.path <> OLD.path
BEGIN
  INSERT INTO events (at, item_id, state) VALUES (NEW.updated_at, NEW.id, NEW.state);
END;

-- These triggers maintain the sums: counting a million rows takes a quarter of a second.

CREATE TRIGGER item_counts_on_insert AFTER INSERT ON items
BEGIN
  INSERT INTO item_counts VALUES
    (NEW.server_id, NEW.state, NEW.priority, NEW.duplicate, NEW.state = 'pending' AND NEW.next_at IS NOT NULL,
     1, NEW.size)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER item_counts_on_update AFTER UPDATE OF state, priority, duplicate, next_at, size ON items
WHEN NEW.state <> OLD.state OR NEW.priority <> OLD.priority OR NEW.duplicate <> OLD.duplicate OR NEW.size <> OLD.size
  OR (NEW.state = 'pending' AND NEW.next_at IS NOT NULL) <> (OLD.state = 'pending' AND OLD.next_at IS NOT NULL)
BEGIN
  UPDATE item_counts SET n = n - 1, bytes = bytes - OLD.size
  WHERE server_id = OLD.server_id AND state = OLD.state AND priority = OLD.priority AND duplicate = OLD.duplicate
    AND delayed = (OLD.state = 'pending' AND OLD.next_at IS NOT NULL);
  INSERT INTO item_counts VALUES
    (NEW.server_id, NEW.state, NEW.priority, NEW.duplicate, NEW.state = 'pending' AND NEW.next_at IS NOT NULL,
     1, NEW.size)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER folder_counts_on_insert AFTER INSERT ON items
WHEN NEW.folder_id IS NOT NULL
BEGIN
  UPDATE folders SET last_new_at = NEW.added_at WHERE id = NEW.folder_id;
  INSERT INTO folder_counts VALUES (NEW.server_id, NEW.folder_id, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER folder_counts_on_update AFTER UPDATE OF folder_id ON items
WHEN NEW.folder_id IS NOT OLD.folder_id
BEGIN
  UPDATE folder_counts SET n = n - 1 WHERE server_id = OLD.server_id AND folder_id = OLD.folder_id;
  INSERT INTO folder_counts SELECT NEW.server_id, NEW.folder_id, 1 WHERE NEW.folder_id IS NOT NULL
  ON CONFLICT DO UPDATE SET n = n + 1;
END;

-- This trigger keeps the history of an item that retries for weeks from filling the disk.
CREATE TRIGGER attempts_keep_last_20 AFTER INSERT ON attempts
BEGIN
  DELETE FROM attempts WHERE item_id = NEW.item_id AND id <=
    (SELECT id FROM attempts WHERE item_id = NEW.item_id ORDER BY id DESC LIMIT 1 OFFSET 20);
END;

-- This trigger counts every change that makes the scan cache wrong: a file that was known and had ended is now another
-- version, at another path, in another folder, or pending again.
CREATE TRIGGER cache_epoch_on_update
AFTER UPDATE OF path, latest, size, mtime_ns, device, inode, state, folder_id ON items
WHEN OLD.latest = 1 AND (OLD.state = 'ready' OR OLD.state = 'failed' OR OLD.state = 'skipped') AND (
  NOT (NEW.state = 'ready' OR NEW.state = 'failed' OR NEW.state = 'skipped')
  OR NEW.latest = 0 OR NEW.path <> OLD.path OR NEW.size <> OLD.size
  OR NEW.mtime_ns <> OLD.mtime_ns OR NEW.device <> OLD.device OR NEW.inode <> OLD.inode
  OR NEW.folder_id IS NOT OLD.folder_id)
BEGIN
  UPDATE cache_epoch SET value = value + 1;
END;
