-- Vectors of pictures themselves, and which pictures are near-duplicates of each other.
ALTER TABLE embeddings ADD COLUMN picture BLOB; -- little-endian float32, by the model that made `vector`

CREATE TABLE looks (
  asset INTEGER PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  look  BLOB    NOT NULL, -- a difference hash
  kin   INTEGER NOT NULL  -- the same for near-duplicates: the row of the first of them
) STRICT;

CREATE INDEX looks_of_kin ON looks (kin);

-- Stretches of looks: who is alike shares one, so that nobody need be compared with all.
CREATE TABLE look_bands (
  band  INTEGER NOT NULL, -- where it stands, and its bits
  asset INTEGER NOT NULL REFERENCES looks (asset) ON DELETE CASCADE,
  PRIMARY KEY (band, asset)
) STRICT, WITHOUT ROWID;

CREATE INDEX bands_of_asset ON look_bands (asset);

-- In about how many texts a trigram occurs: searches look for the rarest of theirs first.
CREATE TABLE trigrams (
  trigram TEXT    PRIMARY KEY,
  texts   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- fts5vocab counts the texts that are there already.
CREATE VIRTUAL TABLE counted USING fts5vocab (texts, 'row');
INSERT INTO trigrams (trigram, texts) SELECT term, doc FROM counted;
DROP TABLE counted;
