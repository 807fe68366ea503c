-- Rows are never reused (AUTOINCREMENT): caches outside the database are keyed by them.
CREATE TABLE assets (
  row        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT    NOT NULL UNIQUE,
  checksum   TEXT    NOT NULL UNIQUE,
  filename   TEXT    NOT NULL,
  mime       TEXT    NOT NULL,
  size_bytes INTEGER NOT NULL,
  width      INTEGER,
  height     INTEGER,
  favorite   INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL, -- milliseconds since 1970, as all times here
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  CONSTRAINT a_checksum_is_lower_case_sha256 CHECK (length(checksum) = 64 AND checksum NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT nothing_is_empty                CHECK (size_bytes > 0),
  CONSTRAINT favorite_is_yes_or_no           CHECK (favorite IN (0, 1))
) STRICT;

CREATE INDEX live_by_creation ON assets (created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX live_by_change   ON assets (updated_at, row) WHERE deleted_at IS NULL;

-- The job and its result in one row: an asset is never without one.
CREATE TABLE embeddings (
  asset        INTEGER PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  state        TEXT    NOT NULL DEFAULT 'pending',
  urgent       INTEGER NOT NULL DEFAULT 0, -- asked for by a person: before all others
  attempts     INTEGER NOT NULL DEFAULT 0, -- failed ones
  queued_at    INTEGER NOT NULL,
  due_at       INTEGER NOT NULL,           -- not to be tried before
  error        TEXT,
  model        TEXT,
  dim          INTEGER NOT NULL DEFAULT 0, -- of the model; 0 until there is a result
  text         TEXT,                       -- what is written in the picture; '' when nothing is
  vector       BLOB,                       -- little-endian float32, as the model gave it
  completed_at INTEGER,
  ready_order  INTEGER UNIQUE,             -- counts up as assets become ready: `> n` is what is new since n
  CONSTRAINT states_are_known             CHECK (state IN ('pending', 'processing', 'ready', 'failed')),
  CONSTRAINT what_is_ready_has_been_read  CHECK ((state = 'ready') = (ready_order IS NOT NULL)
                                             AND (state <> 'ready' OR (model IS NOT NULL AND text IS NOT NULL))),
  CONSTRAINT what_failed_says_why         CHECK (state <> 'failed' OR error IS NOT NULL),
  CONSTRAINT only_what_ended_has_an_end   CHECK ((state IN ('ready', 'failed')) = (completed_at IS NOT NULL)),
  CONSTRAINT only_text_has_a_vector       CHECK (vector IS NULL OR (text IS NOT NULL AND text <> ''))
) STRICT;

CREATE INDEX embeddings_to_make ON embeddings (urgent DESC, due_at) WHERE state = 'pending';

CREATE TABLE tags (
  row        INTEGER PRIMARY KEY,
  id         TEXT    NOT NULL UNIQUE,
  name       TEXT    NOT NULL,
  folded     TEXT    NOT NULL UNIQUE, -- case-folded name: `Cat` and `cat` are one tag
  created_at INTEGER NOT NULL,
  CONSTRAINT a_tag_is_one_line CHECK (instr(name, char(10)) = 0 AND name <> '')
) STRICT;

CREATE TABLE asset_tags (
  asset INTEGER NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  tag   INTEGER NOT NULL REFERENCES tags (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX assets_of_tag ON asset_tags (tag, asset);

-- One asset with all that is told about it.
CREATE VIEW whole_assets AS
  SELECT a.*, e.state, e.model, e.dim, e.error, e.queued_at, e.completed_at,
         (SELECT group_concat(id || ' ' || name, char(10))
            FROM (SELECT t.id, t.name FROM asset_tags at JOIN tags t ON t.row = at.tag
                  WHERE at.asset = a.row ORDER BY t.folded)) AS tags -- one a line: id, space, name
  FROM assets a JOIN embeddings e ON e.asset = a.row;

-- The text of ready assets, folded and without spaces (OCR glues words); rowid is assets.row.
CREATE VIRTUAL TABLE texts USING fts5 (squeezed, tokenize = 'trigram');
