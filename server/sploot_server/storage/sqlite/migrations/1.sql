-- The schema of a library in SQLite. All times are milliseconds since 1970.
-- `owner` is users.id, or '' in a library without accounts. The same content is a separate asset of each owner.

-- AUTOINCREMENT never reuses a row number: the in-memory vector index is keyed by it.
CREATE TABLE assets (
  row        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT    NOT NULL UNIQUE,
  owner      TEXT    NOT NULL DEFAULT '',
  checksum   TEXT    NOT NULL, -- SHA-256 of the content
  filename   TEXT    NOT NULL,
  folder     TEXT    NOT NULL DEFAULT '', -- the name of the folder that held the file; '' if unknown
  mime       TEXT    NOT NULL,
  size_bytes INTEGER NOT NULL,
  width      INTEGER,
  height     INTEGER,
  favorite   INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  copied_at  INTEGER NOT NULL DEFAULT 0, -- when its picture or file was last taken out to be used; 0: never
  -- This column order also serves the lookup of a content across all owners.
  CONSTRAINT assets_checksum_owner_key UNIQUE (checksum, owner),
  CONSTRAINT assets_checksum_check     CHECK (length(checksum) = 64 AND checksum NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT assets_size_bytes_check   CHECK (size_bytes > 0),
  CONSTRAINT assets_favorite_check     CHECK (favorite IN (0, 1))
) STRICT;

CREATE INDEX assets_by_created_at ON assets (owner, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_updated_at ON assets (owner, updated_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_copied_at  ON assets (owner, copied_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_folder     ON assets (owner, folder, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_gif           ON assets (owner, created_at, row) WHERE deleted_at IS NULL AND mime = 'image/gif';
CREATE INDEX assets_tall          ON assets (owner, created_at, row) WHERE deleted_at IS NULL AND height >= 2 * width;
CREATE INDEX assets_in_trash      ON assets (owner, deleted_at, row) WHERE deleted_at IS NOT NULL;
-- This index covers the sum of the sizes of an owner, which each upload of an owner with a quota computes.
CREATE INDEX assets_by_size       ON assets (owner, size_bytes);

-- One row holds the job and its result. Every asset has exactly one.
CREATE TABLE embeddings (
  asset          INTEGER PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  state          TEXT    NOT NULL DEFAULT 'pending',
  urgent         INTEGER NOT NULL DEFAULT 0, -- a person requested it: it precedes all others
  attempts       INTEGER NOT NULL DEFAULT 0, -- counts failed attempts only
  queued_at      INTEGER NOT NULL,
  due_at         INTEGER NOT NULL,           -- the job is not claimed before this time
  error_message  TEXT,
  model          TEXT,
  dim            INTEGER NOT NULL DEFAULT 0, -- dimension of the model; 0 until a result exists
  text           TEXT,                       -- text recognized in the image; '' if it contains none
  text_vector    BLOB,                       -- little-endian float32
  image_vector   BLOB,                       -- little-endian float32
  hubness        REAL    NOT NULL DEFAULT 0, -- similarity that any query has to the text
  completed_at   INTEGER,
  ready_seq      INTEGER UNIQUE,             -- increases as assets become ready: `> n` selects what is new since n
  completion_seq INTEGER,                    -- increases as embeddings become ready or fail; triggers assign it
  CONSTRAINT embeddings_state_check        CHECK (state IN ('pending', 'processing', 'ready', 'failed')),
  CONSTRAINT embeddings_ready_check        CHECK ((state = 'ready') = (ready_seq IS NOT NULL)
                                              AND (state <> 'ready' OR (model IS NOT NULL AND text IS NOT NULL))),
  CONSTRAINT embeddings_failed_check       CHECK (state <> 'failed' OR error_message IS NOT NULL),
  CONSTRAINT embeddings_completed_at_check CHECK ((state IN ('ready', 'failed')) = (completed_at IS NOT NULL)),
  CONSTRAINT embeddings_text_vector_check  CHECK (text_vector IS NULL OR (text IS NOT NULL AND text <> ''))
) STRICT;

CREATE INDEX embeddings_pending ON embeddings (urgent DESC, due_at) WHERE state = 'pending';
-- This index covers the counts by state: without it SQLite reads the rows, and the vectors in them.
CREATE INDEX embeddings_by_state ON embeddings (state);
CREATE INDEX embeddings_without_text ON embeddings (asset) WHERE text = '';
CREATE UNIQUE INDEX embeddings_by_completion_seq ON embeddings (completion_seq);

-- This table holds one row. A number is never assigned twice, not even after the embedding is requeued or deleted:
-- a client that resumes after `last_seq` misses nothing. `library_id` distinguishes cursors of different libraries.
CREATE TABLE completion_sequence (
  library_id TEXT    NOT NULL,
  last_seq   INTEGER NOT NULL
) STRICT;

INSERT INTO completion_sequence (library_id, last_seq) VALUES (lower(hex(randomblob(4))), 0);

CREATE TRIGGER embeddings_completed AFTER UPDATE OF state ON embeddings
WHEN OLD.state <> NEW.state AND NEW.state IN ('ready', 'failed')
BEGIN
  UPDATE completion_sequence SET last_seq = last_seq + 1;
  UPDATE embeddings SET completion_seq = (SELECT last_seq FROM completion_sequence) WHERE asset = NEW.asset;
END;

CREATE TRIGGER embeddings_requeued AFTER UPDATE OF state ON embeddings
WHEN NEW.state NOT IN ('ready', 'failed') AND OLD.completion_seq IS NOT NULL
BEGIN
  UPDATE embeddings SET completion_seq = NULL WHERE asset = NEW.asset;
END;

-- This table holds at most one row: the id that the store of the originals has in its object `store-id`.
CREATE TABLE blob_store (
  id TEXT NOT NULL
) STRICT;

CREATE TABLE tags (
  row         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE,
  owner       TEXT    NOT NULL DEFAULT '',
  name        TEXT    NOT NULL,
  folded_name TEXT    NOT NULL, -- case-folded name: `Cat` and `cat` are one tag
  created_at  INTEGER NOT NULL,
  CONSTRAINT tags_owner_folded_name_key UNIQUE (owner, folded_name),
  CONSTRAINT tags_name_check            CHECK (instr(name, char(10)) = 0 AND name <> '')
) STRICT;

CREATE TABLE asset_tags (
  asset INTEGER NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  tag   INTEGER NOT NULL REFERENCES tags (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX asset_tags_by_tag ON asset_tags (tag, asset);

-- A template is a well-known picture that many memes share, with a name.
CREATE TABLE templates (
  row         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE,
  owner       TEXT    NOT NULL DEFAULT '',
  name        TEXT    NOT NULL,
  folded_name TEXT    NOT NULL,            -- case-folded name
  keywords    TEXT    NOT NULL DEFAULT '', -- each after a tab
  created_at  INTEGER NOT NULL,
  CONSTRAINT templates_owner_folded_name_key UNIQUE (owner, folded_name),
  CONSTRAINT templates_name_check            CHECK (instr(name, char(10)) = 0 AND name <> '')
) STRICT;

-- AUTOINCREMENT never reuses a row number: image_features.matched refers to it.
CREATE TABLE template_pictures (
  row      INTEGER PRIMARY KEY AUTOINCREMENT,
  template INTEGER NOT NULL REFERENCES templates (row) ON DELETE CASCADE,
  owner    TEXT    NOT NULL,
  checksum TEXT    NOT NULL, -- SHA-256 of the picture, which is not stored itself
  features BLOB    NOT NULL, -- see domain/template_features.py
  mirrored BLOB    NOT NULL, -- the features of its mirror image
  CONSTRAINT template_pictures_template_checksum_key UNIQUE (template, checksum)
) STRICT;

CREATE INDEX template_pictures_by_owner ON template_pictures (owner, row);

CREATE TABLE asset_templates (
  asset    INTEGER NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  template INTEGER NOT NULL REFERENCES templates (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, template)
) STRICT, WITHOUT ROWID;

CREATE INDEX asset_templates_by_template ON asset_templates (template, asset);

CREATE TABLE image_features (
  asset    INTEGER PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  owner    TEXT    NOT NULL,
  matched  INTEGER NOT NULL DEFAULT 0, -- it was compared with the template pictures up to this row
  features BLOB    NOT NULL
) STRICT;

CREATE INDEX image_features_by_matched ON image_features (owner, matched);

-- `tags` and `templates` have one line per tag or template: id, space, name, keywords. Their checks exclude newlines.
CREATE VIEW asset_details AS
  SELECT a.*, e.state, e.model, e.dim, e.text, e.error_message, e.queued_at, e.completed_at, e.completion_seq,
         (SELECT group_concat(id || ' ' || name, char(10))
            FROM (SELECT t.id, t.name FROM asset_tags at JOIN tags t ON t.row = at.tag
                  WHERE at.asset = a.row ORDER BY t.folded_name)) AS tags,
         (SELECT group_concat(id || ' ' || name || keywords, char(10))
            FROM (SELECT t.id, t.name, t.keywords FROM asset_templates at JOIN templates t ON t.row = at.template
                  WHERE at.asset = a.row ORDER BY t.folded_name)) AS templates
  FROM assets a JOIN embeddings e ON e.asset = a.row;

-- The text of ready assets, folded and without spaces, because OCR joins words. rowid is assets.row.
CREATE VIRTUAL TABLE search_texts USING fts5 (normalized, tokenize = 'trigram');

-- The number of texts that contain a trigram: a search matches its rarest trigrams first.
CREATE TABLE trigram_counts (
  trigram    TEXT    PRIMARY KEY,
  text_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Near-duplicates have the same duplicate_group: the row of the first of them.
CREATE TABLE image_hashes (
  asset           INTEGER PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  dhash           BLOB    NOT NULL,
  colours         BLOB    NOT NULL, -- mean red, green, blue of each quarter
  aspect_ratio    REAL    NOT NULL, -- without borders
  duplicate_group INTEGER NOT NULL
) STRICT;

CREATE INDEX image_hashes_by_duplicate_group ON image_hashes (duplicate_group);

-- Near-duplicates share at least one band of their hashes or words, so a new image is compared with few others.
CREATE TABLE dhash_bands (
  band  INTEGER NOT NULL, -- the number of the band and its bits
  asset INTEGER NOT NULL REFERENCES image_hashes (asset) ON DELETE CASCADE,
  PRIMARY KEY (band, asset)
) STRICT, WITHOUT ROWID;

CREATE INDEX dhash_bands_by_asset ON dhash_bands (asset);

-- A share link shows one image to anyone who has the link.
CREATE TABLE shares (
  slug       TEXT    PRIMARY KEY,
  asset      INTEGER NOT NULL UNIQUE REFERENCES assets (row) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER -- NULL: the link does not expire
) STRICT;

-- Deleting an image ends its link for good: adding the same content again restores the image, but not the link.
CREATE TRIGGER assets_deleted AFTER UPDATE OF deleted_at ON assets WHEN NEW.deleted_at IS NOT NULL
BEGIN
  DELETE FROM shares WHERE asset = NEW.row;
END;

CREATE TABLE users (
  id          TEXT    PRIMARY KEY,
  name        TEXT    NOT NULL,
  folded_name TEXT    NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL,
  quota_bytes INTEGER, -- of all assets, deleted ones included; NULL: no limit
  is_admin    INTEGER NOT NULL DEFAULT 0, -- 1: the page shows the members, invitations and links of all
  CONSTRAINT users_name_check CHECK (id <> '' AND name <> '')
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  id           TEXT    PRIMARY KEY, -- the part of a token that may be displayed
  user         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         TEXT    NOT NULL,    -- describes the token's purpose
  digest       BLOB    NOT NULL,    -- SHA-256 of the whole token; the token itself is not stored
  scopes       TEXT    NOT NULL,    -- a subset of `read write admin`, separated by spaces
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER,             -- NULL: the token does not expire
  last_used_at INTEGER,             -- to the minute
  revoked_at   INTEGER,
  CONSTRAINT tokens_digest_check CHECK (length(digest) = 32),
  CONSTRAINT tokens_scopes_check CHECK (scopes <> '')
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_user ON tokens (user);

-- A session is a browser that a user signed in.
CREATE TABLE sessions (
  id           TEXT    PRIMARY KEY, -- the part of the cookie that may be displayed
  user         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  token        TEXT    REFERENCES tokens (id) ON DELETE CASCADE, -- it ends with this token; NULL: an invitation
  digest       BLOB    NOT NULL,    -- SHA-256 of the cookie
  scopes       TEXT    NOT NULL,    -- as in tokens, without `admin`
  user_agent   TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,    -- to the minute
  CONSTRAINT sessions_digest_check CHECK (length(digest) = 32),
  CONSTRAINT sessions_scopes_check CHECK (scopes <> '')
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user);

-- An invitation signs in one browser without a token. Using it deletes it.
CREATE TABLE invitations (
  id         TEXT    PRIMARY KEY,
  user       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  digest     BLOB    NOT NULL, -- SHA-256 of the whole invitation
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  CONSTRAINT invitations_digest_check CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitations_by_user ON invitations (user);
