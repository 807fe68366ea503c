-- Links by which an owner shows a picture to everybody who has the link.
CREATE TABLE shares (
  slug       text   COLLATE "C" PRIMARY KEY,
  asset      bigint NOT NULL UNIQUE REFERENCES assets (row) ON DELETE CASCADE,
  created_at bigint NOT NULL
);
