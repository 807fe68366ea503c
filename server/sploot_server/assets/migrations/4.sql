-- The order in which embeddings have ended, well or not; triggers keep it, whoever writes. A place is never taken twice.
CREATE TABLE series (
  name TEXT    NOT NULL, -- tells this library from others
  last INTEGER NOT NULL  -- the last place that was taken
) STRICT;

ALTER TABLE embeddings ADD COLUMN ended_order INTEGER;

UPDATE embeddings SET ended_order = ended.place
  FROM (SELECT asset AS of, row_number() OVER (ORDER BY completed_at, asset) AS place
          FROM embeddings WHERE completed_at IS NOT NULL) AS ended
  WHERE asset = ended.of;

INSERT INTO series (name, last) SELECT lower(hex(randomblob(4))), coalesce(max(ended_order), 0) FROM embeddings;

CREATE UNIQUE INDEX embeddings_ended ON embeddings (ended_order);

CREATE TRIGGER an_embedding_ends AFTER UPDATE OF state ON embeddings
WHEN OLD.state <> NEW.state AND NEW.state IN ('ready', 'failed')
BEGIN
  UPDATE series SET last = last + 1;
  UPDATE embeddings SET ended_order = (SELECT last FROM series) WHERE asset = NEW.asset;
END;

CREATE TRIGGER an_embedding_is_made_anew AFTER UPDATE OF state ON embeddings
WHEN NEW.state NOT IN ('ready', 'failed') AND OLD.ended_order IS NOT NULL
BEGIN
  UPDATE embeddings SET ended_order = NULL WHERE asset = NEW.asset;
END;
