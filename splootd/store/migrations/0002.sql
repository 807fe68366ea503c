-- What becomes of files once the library has them, and since when it is known to have a content.

-- As `--after` says it: trash, or move: and a folder. NULL: the file is kept where it is.
ALTER TABLE adds ADD COLUMN after BLOB;
ALTER TABLE folders ADD COLUMN after BLOB;
ALTER TABLE items ADD COLUMN after BLOB; -- NULL again once it has been done, or cannot be
CREATE INDEX items_wished ON items (server_id) WHERE after IS NOT NULL AND state = 'ready' AND latest = 1;

-- When the server last said that it has the content.
ALTER TABLE contents ADD COLUMN seen_at REAL;

-- Each file that was put away: written down before it is touched, so that after a crash the disk says how it ended.
CREATE TABLE moves (
  id         INTEGER PRIMARY KEY,
  item_id    INTEGER NOT NULL REFERENCES items (id),
  source     BLOB NOT NULL,
  target     BLOB NOT NULL,
  trashed    INTEGER NOT NULL,
  note       BLOB,             -- the file in which the trash keeps where it came from
  size       INTEGER NOT NULL, -- the file's version, which moving does not change
  mtime_ns   INTEGER NOT NULL,
  device     INTEGER NOT NULL,
  inode      INTEGER NOT NULL,
  state      TEXT NOT NULL,
  at         REAL NOT NULL,
  CONSTRAINT a_move_is_in_one_of_five_states CHECK (state IN ('going', 'there', 'returning', 'back', 'lost')),
  CONSTRAINT into_the_trash_or_not CHECK (trashed IN (0, 1))
) STRICT;
CREATE INDEX moves_by_item ON moves (item_id, id);
CREATE INDEX moves_under_way ON moves (id) WHERE state IN ('going', 'returning');
CREATE INDEX moves_there ON moves (id) WHERE state = 'there';
