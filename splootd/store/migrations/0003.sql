-- Where a large upload goes on that was begun and not finished: what the server has of a content so far.

CREATE TABLE uploads (
  server_id  INTEGER NOT NULL REFERENCES servers (id),
  sha256     BLOB NOT NULL CONSTRAINT an_upload_is_known_by_32_bytes CHECK (length(sha256) = 32),
  path       TEXT NOT NULL, -- of its address on that server
  begun_at   REAL NOT NULL,
  PRIMARY KEY (server_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_time ON uploads (begun_at);
