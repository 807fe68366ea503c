-- The first schema. Times are seconds since the epoch (UTC); paths are the bytes the system gave; tags are JSON arrays.

CREATE TABLE servers (
  id   INTEGER PRIMARY KEY,
  url  TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE folders (
  id           INTEGER PRIMARY KEY AUTOINCREMENT, -- an id is never given twice: items outlive their folder
  path         BLOB NOT NULL UNIQUE,
  device       INTEGER NOT NULL,
  inode        INTEGER NOT NULL,
  priority     INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
  tags         TEXT NOT NULL,
  added_at     REAL NOT NULL,
  scanned_at   REAL,
  last_new_at  REAL,                       -- kept by trigger
  items        INTEGER NOT NULL DEFAULT 0  -- kept by trigger
    CONSTRAINT a_folder_has_no_fewer_than_no_items CHECK (items >= 0)
) STRICT;

CREATE TABLE adds (
  id         INTEGER PRIMARY KEY AUTOINCREMENT, -- as with folders: items outlive the add that brought them
  server_id  INTEGER NOT NULL REFERENCES servers (id),
  key        TEXT NOT NULL,
  priority   INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
  tags       TEXT NOT NULL,
  force      INTEGER NOT NULL CHECK (force IN (0, 1)),
  added_at   REAL NOT NULL,
  CONSTRAINT a_command_that_is_sent_twice_adds_once UNIQUE (server_id, key)
) STRICT;

-- What an add named and what has still to be walked.
CREATE TABLE roots (
  id         INTEGER PRIMARY KEY,
  add_id     INTEGER NOT NULL REFERENCES adds (id) ON DELETE CASCADE,
  path       BLOB NOT NULL,
  folder_id  INTEGER REFERENCES folders (id) ON DELETE SET NULL,
  done_at    REAL,
  CONSTRAINT an_add_walks_a_path_once UNIQUE (add_id, path)
) STRICT;
CREATE INDEX roots_by_folder ON roots (folder_id) WHERE folder_id IS NOT NULL;
CREATE INDEX roots_left ON roots (id) WHERE done_at IS NULL;

CREATE TABLE items (
  id           INTEGER PRIMARY KEY,
  server_id    INTEGER NOT NULL REFERENCES servers (id),
  path         BLOB NOT NULL,
  latest       INTEGER NOT NULL DEFAULT 1, -- 1 until another version or another file takes over the path
  size         INTEGER NOT NULL,
  mtime_ns     INTEGER NOT NULL,
  device       INTEGER NOT NULL,
  inode        INTEGER NOT NULL,
  state        TEXT NOT NULL DEFAULT 'pending',
  priority     INTEGER NOT NULL,
  shard        INTEGER NOT NULL,
  added_at     REAL NOT NULL,
  updated_at   REAL NOT NULL,
  next_at      REAL,                       -- pending: not to be tried before; embedding: not to be asked about before
  attempts     INTEGER NOT NULL DEFAULT 0,
  lease        TEXT,                       -- boot ':' token
  sha256       BLOB,
  asset_id     TEXT,
  accepted_at  REAL,
  duplicate    INTEGER NOT NULL DEFAULT 0,
  fault        TEXT,
  reason       TEXT,
  folder_id    INTEGER REFERENCES folders (id),
  add_id       INTEGER,                    -- no reference: finished adds are forgotten after a week, items are not
  tags         TEXT NOT NULL,
  force        INTEGER NOT NULL,
  CONSTRAINT a_state_is_one_of_seven_words
    CHECK (state IN ('pending', 'uploading', 'embedding', 'ready', 'dead', 'gone', 'skipped')),
  CONSTRAINT a_priority_is_one_of_three CHECK (priority IN (0, 1, 2)),
  CONSTRAINT a_shard_is_one_of_sixteen CHECK (shard BETWEEN 0 AND 15),
  CONSTRAINT a_flag_is_no_or_yes CHECK (latest IN (0, 1) AND duplicate IN (0, 1) AND force IN (0, 1)),
  CONSTRAINT a_path_is_not_empty CHECK (length(path) > 0),
  CONSTRAINT a_size_is_not_negative CHECK (size >= 0),
  CONSTRAINT attempts_are_not_negative CHECK (attempts >= 0),
  CONSTRAINT a_digest_has_32_bytes CHECK (sha256 IS NULL OR length(sha256) = 32),
  CONSTRAINT only_uploads_are_leased CHECK ((state = 'uploading') = (lease IS NOT NULL)),
  CONSTRAINT only_what_waits_has_a_time CHECK (next_at IS NULL OR state IN ('pending', 'embedding')),
  CONSTRAINT what_is_embedding_is_asked_about
    CHECK (state <> 'embedding' OR (next_at IS NOT NULL AND accepted_at IS NOT NULL)),
  CONSTRAINT what_is_stored_has_an_id
    CHECK (state NOT IN ('embedding', 'ready') OR (asset_id IS NOT NULL AND sha256 IS NOT NULL)),
  CONSTRAINT what_was_given_up_says_why CHECK (state NOT IN ('dead', 'gone', 'skipped') OR fault IS NOT NULL),
  CONSTRAINT a_fault_has_a_reason CHECK ((fault IS NULL) = (reason IS NULL)),
  CONSTRAINT only_the_latest_waits_for_somebody CHECK (latest = 1 OR state NOT IN ('pending', 'dead'))
) STRICT;

-- Who is at this path?
CREATE UNIQUE INDEX items_latest ON items (server_id, path) WHERE latest = 1;
CREATE INDEX items_former ON items (server_id, path) WHERE latest = 0;
-- Where has this file been before?
CREATE INDEX items_by_inode ON items (device, inode) WHERE latest = 1;
-- What is next? Delayed items are a case of their own, so that no claim ever walks over them.
CREATE INDEX items_claimable ON items (server_id, shard, priority, added_at) WHERE state = 'pending' AND next_at IS NULL;
CREATE INDEX items_urgent ON items (server_id, added_at) WHERE state = 'pending' AND next_at IS NULL AND priority = 0;
CREATE INDEX items_delayed ON items (server_id, next_at) WHERE state = 'pending' AND next_at IS NOT NULL;
CREATE INDEX items_leased ON items (lease) WHERE state = 'uploading';
-- What is the server still working on, and when is it asked?
CREATE INDEX items_embedding ON items (server_id, accepted_at, id, next_at) WHERE state = 'embedding';
CREATE INDEX items_to_ask ON items (server_id, next_at) WHERE state = 'embedding';
-- What do people ask for?
CREATE INDEX items_dead ON items (server_id, fault) WHERE state = 'dead';
CREATE INDEX items_by_fault ON items (fault) WHERE fault IS NOT NULL;
CREATE INDEX items_by_folder ON items (folder_id) WHERE folder_id IS NOT NULL;
CREATE INDEX items_by_add ON items (add_id, state, duplicate, size) WHERE add_id IS NOT NULL;
CREATE INDEX items_by_asset ON items (server_id, asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX items_by_state ON items (state);
CREATE INDEX items_by_priority ON items (priority);
CREATE INDEX items_by_added_at ON items (added_at);
CREATE INDEX items_by_priority_and_state ON items (priority, state);

-- The ledger: what each server has, or had.
CREATE TABLE contents (
  server_id   INTEGER NOT NULL REFERENCES servers (id),
  sha256      BLOB NOT NULL CONSTRAINT a_content_has_32_bytes CHECK (length(sha256) = 32),
  asset_id    TEXT NOT NULL,
  ready       INTEGER NOT NULL CHECK (ready IN (0, 1)), -- whether it was ever searchable
  removed_at  REAL,
  PRIMARY KEY (server_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX contents_by_asset ON contents (server_id, asset_id);

CREATE TABLE attempts (
  id       INTEGER PRIMARY KEY,
  item_id  INTEGER NOT NULL REFERENCES items (id),
  at       REAL NOT NULL,
  fault    TEXT NOT NULL,
  verdict  TEXT NOT NULL CHECK (verdict IN ('retry', 'wait', 'bury', 'skip', 'drop')),
  reason   TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_by_item ON attempts (item_id);

-- The sequence is the order of the commits, so that a reader can go on where it stopped.
CREATE TABLE events (
  seq      INTEGER PRIMARY KEY,
  at       REAL NOT NULL,
  item_id  INTEGER NOT NULL,
  state    TEXT NOT NULL
) STRICT;

CREATE TABLE counts (
  server_id  INTEGER NOT NULL,
  state      TEXT NOT NULL,
  priority   INTEGER NOT NULL,
  duplicate  INTEGER NOT NULL,
  delayed    INTEGER NOT NULL,
  n          INTEGER NOT NULL CONSTRAINT there_are_no_fewer_than_no_items CHECK (n >= 0),
  bytes      INTEGER NOT NULL CONSTRAINT there_are_no_fewer_than_no_bytes CHECK (bytes >= 0),
  PRIMARY KEY (server_id, state, priority, duplicate, delayed)
) STRICT, WITHOUT ROWID;

-- Answers already given to commands, by their Idempotency-Key.
CREATE TABLE replies (
  key    TEXT PRIMARY KEY,
  reply  TEXT NOT NULL,
  at     REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_by_time ON replies (at);

CREATE TABLE settings (
  name        TEXT PRIMARY KEY,
  value       TEXT NOT NULL,
  updated_at  REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- The law of an item's life, as core/lifecycle.py states it.

CREATE TRIGGER items_begin_pending BEFORE INSERT ON items
WHEN NEW.state <> 'pending'
BEGIN
  SELECT RAISE(ABORT, 'an item begins its life pending');
END;

CREATE TRIGGER items_follow_the_lifecycle BEFORE UPDATE OF state ON items
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
  WHEN 'pending' THEN NEW.state IN ('uploading', 'gone', 'skipped')
  WHEN 'uploading' THEN NEW.state IN ('embedding', 'ready', 'pending', 'dead', 'gone', 'skipped')
  WHEN 'embedding' THEN NEW.state IN ('ready', 'dead', 'skipped')
  WHEN 'dead' THEN NEW.state IN ('pending', 'skipped')
  WHEN 'gone' THEN NEW.state IN ('pending', 'skipped')
  WHEN 'skipped' THEN NEW.state = 'pending'
  ELSE FALSE
END
BEGIN
  SELECT RAISE(ABORT, 'no step of an item''s life leads from its state to this one');
END;

CREATE TRIGGER items_are_never_deleted BEFORE DELETE ON items
BEGIN
  SELECT RAISE(ABORT, 'an item is never deleted: its row is how a file is known again');
END;

-- News, in the transaction of the change itself.

CREATE TRIGGER events_on_insert AFTER INSERT ON items
BEGIN
  INSERT INTO events (at, item_id, state) VALUES (NEW.updated_at, NEW.id, NEW.state);
END;

CREATE TRIGGER events_on_update AFTER UPDATE OF state, priority, path ON items
WHEN NEW.state <> OLD.state OR NEW.priority <> OLD.priority OR NEW.path <> OLD.path
BEGIN
  INSERT INTO events (at, item_id, state) VALUES (NEW.updated_at, NEW.id, NEW.state);
END;

-- Sums are kept, not counted: counting a million rows takes a quarter of a second.

CREATE TRIGGER counts_on_insert AFTER INSERT ON items
BEGIN
  INSERT INTO counts VALUES
    (NEW.server_id, NEW.state, NEW.priority, NEW.duplicate, NEW.state = 'pending' AND NEW.next_at IS NOT NULL, 1, NEW.size)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER counts_on_update AFTER UPDATE OF state, priority, duplicate, next_at, size ON items
WHEN NEW.state <> OLD.state OR NEW.priority <> OLD.priority OR NEW.duplicate <> OLD.duplicate OR NEW.size <> OLD.size
  OR (NEW.state = 'pending' AND NEW.next_at IS NOT NULL) <> (OLD.state = 'pending' AND OLD.next_at IS NOT NULL)
BEGIN
  UPDATE counts SET n = n - 1, bytes = bytes - OLD.size
  WHERE server_id = OLD.server_id AND state = OLD.state AND priority = OLD.priority AND duplicate = OLD.duplicate
    AND delayed = (OLD.state = 'pending' AND OLD.next_at IS NOT NULL);
  INSERT INTO counts VALUES
    (NEW.server_id, NEW.state, NEW.priority, NEW.duplicate, NEW.state = 'pending' AND NEW.next_at IS NOT NULL, 1, NEW.size)
  ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER folders_on_insert AFTER INSERT ON items
WHEN NEW.folder_id IS NOT NULL
BEGIN
  UPDATE folders SET items = items + 1, last_new_at = NEW.added_at WHERE id = NEW.folder_id;
END;

CREATE TRIGGER folders_on_update AFTER UPDATE OF folder_id ON items
WHEN NEW.folder_id IS NOT OLD.folder_id
BEGIN
  UPDATE folders SET items = items - 1 WHERE id = OLD.folder_id;
  UPDATE folders SET items = items + 1 WHERE id = NEW.folder_id;
END;

-- A file that waits for weeks must not fill the disk with its history.
CREATE TRIGGER attempts_are_at_most_twenty AFTER INSERT ON attempts
BEGIN
  DELETE FROM attempts WHERE item_id = NEW.item_id AND id <=
    (SELECT id FROM attempts WHERE item_id = NEW.item_id ORDER BY id DESC LIMIT 1 OFFSET 20);
END;
