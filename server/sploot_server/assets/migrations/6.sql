-- Links by which an owner shows a picture to everybody who has the link.
CREATE TABLE shares (
  slug       TEXT    PRIMARY KEY,
  asset      INTEGER NOT NULL UNIQUE REFERENCES assets (row) ON DELETE CASCADE,
  created_at INTEGER NOT NULL
) STRICT;
