-- Assets and tags get an owner: '' in a library without accounts. The same content is one asset of each owner.
-- Foreign keys are off while this runs: with them on, dropping a table would first delete what refers to its rows.
DROP VIEW whole_assets;

CREATE TABLE assets_of_owners (
  row        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT    NOT NULL UNIQUE,
  owner      TEXT    NOT NULL DEFAULT '', -- users.id
  checksum   TEXT    NOT NULL,
  filename   TEXT    NOT NULL,
  mime       TEXT    NOT NULL,
  size_bytes INTEGER NOT NULL,
  width      INTEGER,
  height     INTEGER,
  favorite   INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  UNIQUE (checksum, owner), -- in this order it also finds who else has a content
  CONSTRAINT a_checksum_is_lower_case_sha256 CHECK (length(checksum) = 64 AND checksum NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT nothing_is_empty                CHECK (size_bytes > 0),
  CONSTRAINT favorite_is_yes_or_no           CHECK (favorite IN (0, 1))
) STRICT;

INSERT INTO assets_of_owners
         (row, id, checksum, filename, mime, size_bytes, width, height, favorite, created_at, updated_at, deleted_at)
  SELECT  row, id, checksum, filename, mime, size_bytes, width, height, favorite, created_at, updated_at, deleted_at
  FROM assets;

-- Rows of removed assets stay unused for ever: the new table goes on counting where the old one was.
DELETE FROM sqlite_sequence WHERE name = 'assets_of_owners';
INSERT INTO sqlite_sequence (name, seq) SELECT 'assets_of_owners', seq FROM sqlite_sequence WHERE name = 'assets';

DROP TABLE assets;
ALTER TABLE assets_of_owners RENAME TO assets;
CREATE INDEX live_by_creation ON assets (owner, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX live_by_change   ON assets (owner, updated_at, row) WHERE deleted_at IS NULL;

CREATE TABLE tags_of_owners (
  row        INTEGER PRIMARY KEY,
  id         TEXT    NOT NULL UNIQUE,
  owner      TEXT    NOT NULL DEFAULT '',
  name       TEXT    NOT NULL,
  folded     TEXT    NOT NULL, -- case-folded name: `Cat` and `cat` are one tag
  created_at INTEGER NOT NULL,
  UNIQUE (owner, folded),
  CONSTRAINT a_tag_is_one_line CHECK (instr(name, char(10)) = 0 AND name <> '')
) STRICT;

INSERT INTO tags_of_owners (row, id, name, folded, created_at) SELECT row, id, name, folded, created_at FROM tags;
DROP TABLE tags;
ALTER TABLE tags_of_owners RENAME TO tags;

CREATE VIEW whole_assets AS
  SELECT a.*, e.state, e.model, e.dim, e.error, e.queued_at, e.completed_at,
         (SELECT group_concat(id || ' ' || name, char(10))
            FROM (SELECT t.id, t.name FROM asset_tags at JOIN tags t ON t.row = at.tag
                  WHERE at.asset = a.row ORDER BY t.folded)) AS tags -- one a line: id, space, name
  FROM assets a JOIN embeddings e ON e.asset = a.row;

CREATE TABLE users (
  id         TEXT    PRIMARY KEY, -- the owner of what he has added
  name       TEXT    NOT NULL,
  folded     TEXT    NOT NULL UNIQUE, -- case-folded name
  created_at INTEGER NOT NULL,
  CONSTRAINT nobody_is_nameless CHECK (id <> '' AND name <> '')
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  id           TEXT    PRIMARY KEY, -- the part of a token that may be shown
  user         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         TEXT    NOT NULL,    -- what it is for
  digest       BLOB    NOT NULL,    -- SHA-256 of the whole token, which is kept nowhere
  scopes       TEXT    NOT NULL,    -- some of `read write admin`, with spaces between
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER,             -- never if NULL
  last_used_at INTEGER,             -- to the minute
  revoked_at   INTEGER,
  CONSTRAINT a_digest_is_sha256            CHECK (length(digest) = 32),
  CONSTRAINT a_token_is_good_for_something CHECK (scopes <> '')
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_of_user ON tokens (user);
