CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE assets (
  row        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner      text    COLLATE "C" NOT NULL DEFAULT '', -- '' owns the library that has no accounts
  id         text    COLLATE "C" NOT NULL UNIQUE,
  checksum   text    COLLATE "C" NOT NULL,
  filename   text    NOT NULL,
  mime       text    NOT NULL,
  size_bytes bigint  NOT NULL,
  width      integer,
  height     integer,
  favorite   boolean NOT NULL DEFAULT false,
  created_at bigint  NOT NULL, -- milliseconds since 1970, as all times here
  updated_at bigint  NOT NULL,
  deleted_at bigint,
  CONSTRAINT a_content_is_an_owners_once      UNIQUE (checksum, owner),
  CONSTRAINT a_checksum_is_lower_case_sha256  CHECK (checksum ~ '^[0-9a-f]{64}$'),
  CONSTRAINT nothing_is_empty                 CHECK (size_bytes > 0)
);

CREATE INDEX live_by_creation ON assets (owner, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX live_by_change   ON assets (owner, updated_at, row) WHERE deleted_at IS NULL;

-- The job and its result in one row: an asset is never without one. Vectors and words are apart, so that a step along
-- this table rewrites neither them nor their indexes.
CREATE TABLE embeddings (
  asset        bigint  PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  state        text    NOT NULL DEFAULT 'pending',
  urgent       boolean NOT NULL DEFAULT false, -- asked for by a person: before all others
  attempts     integer NOT NULL DEFAULT 0,     -- failed ones
  claims       bigint  NOT NULL DEFAULT 0,     -- how often it was taken in hand: who holds an older claim changes nothing
  worker       integer,                        -- the session that has it in hand; see jobs.py
  queued_at    bigint  NOT NULL,
  due_at       bigint  NOT NULL,               -- not to be tried before
  error        text,
  model        text,
  dim          integer NOT NULL DEFAULT 0,     -- of the model; 0 until there is a result
  text         text,                           -- what is written in the picture; '' when nothing is
  completed_at bigint,
  ended_order  bigint  UNIQUE,                 -- counts up as embeddings end: `> n` is what has ended since n
  CONSTRAINT states_are_known            CHECK (state IN ('pending', 'processing', 'ready', 'failed')),
  CONSTRAINT what_is_ready_has_been_read CHECK (state <> 'ready' OR (model IS NOT NULL AND text IS NOT NULL)),
  CONSTRAINT what_failed_says_why        CHECK (state <> 'failed' OR error IS NOT NULL),
  CONSTRAINT only_what_ended_has_an_end  CHECK ((state IN ('ready', 'failed')) = (completed_at IS NOT NULL)
                                            AND (completed_at IS NULL) = (ended_order IS NULL)),
  CONSTRAINT someone_has_it_in_hand      CHECK ((state = 'processing') = (worker IS NOT NULL))
) WITH (fillfactor = 80);

CREATE INDEX embeddings_to_make ON embeddings (urgent DESC, due_at) WHERE state = 'pending';
CREATE INDEX embeddings_in_hand ON embeddings (worker) WHERE state = 'processing';

CREATE SEQUENCE workers AS integer CYCLE;

-- Names this library, so that a place in the order of ends is not taken for one of another library's.
CREATE TABLE series AS
  SELECT substr(md5(random()::text || clock_timestamp()::text), 1, 8) AS name, 0::bigint AS last;

-- Whoever ends an embedding, by whatever means: it takes the next place in the order of ends, and is told to all who
-- listen. The row of `series` is locked until the end of the transaction, so places become visible in their order.
CREATE FUNCTION embedding_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state IN ('ready', 'failed') THEN
    UPDATE series SET last = last + 1 RETURNING last INTO NEW.ended_order;
    NEW.completed_at := coalesce(NEW.completed_at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    NEW.worker := NULL;
    NEW.urgent := false;
    PERFORM pg_notify('sploot_ended', (SELECT id FROM assets WHERE row = NEW.asset));
  ELSE
    NEW.ended_order := NULL;
    NEW.completed_at := NULL;
    IF NEW.state = 'pending' THEN
      NEW.worker := NULL;
      NOTIFY sploot_work;
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER an_embedding_moves BEFORE UPDATE OF state ON embeddings
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION embedding_moves();
CREATE TRIGGER an_embedding_is_wanted BEFORE INSERT ON embeddings
  FOR EACH ROW EXECUTE FUNCTION embedding_moves();

-- What texts mean, and what is to be seen in pictures: their inner products with what is sought are cosines. One column
-- serves all models of texts: vectors of fewer dimensions are filled up with zeros, which changes no product. Models of
-- pictures are the users' own, of any dimension: their index is made when there is one (see jobs.py).
CREATE TABLE vectors (
  asset   bigint PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  owner   text   COLLATE "C" NOT NULL,
  meaning vector(768),
  picture vector
);

CREATE INDEX vectors_of_owner ON vectors (owner);
CREATE INDEX meanings_nearest ON vectors USING hnsw ((meaning::halfvec(768)) halfvec_ip_ops);

-- Which pictures are near-duplicates of each other (see looks.py), and stretches of looks: who is alike shares one.
CREATE TABLE looks (
  asset bigint    PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  look  bytea     NOT NULL, -- a difference hash
  kin   bigint    NOT NULL, -- the same for near-duplicates: the row of the first of them
  bands integer[] NOT NULL
);

CREATE INDEX looks_of_kin  ON looks (kin);
CREATE INDEX looks_by_band ON looks USING gin (bands);

-- The text of ready assets, folded and without spaces (OCR glues words), and its runs of three letters as numbers.
CREATE TABLE texts (
  asset    bigint    PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  squeezed text      COLLATE "C" NOT NULL,
  trigrams integer[] NOT NULL
);

CREATE INDEX texts_by_trigram ON texts USING gin (trigrams);

CREATE TABLE tags (
  row        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner      text   COLLATE "C" NOT NULL DEFAULT '',
  id         text   COLLATE "C" NOT NULL UNIQUE,
  name       text   NOT NULL,
  folded     text   COLLATE "C" NOT NULL, -- case-folded name: `Cat` and `cat` are one tag
  created_at bigint NOT NULL,
  CONSTRAINT a_tag_is_an_owners_once UNIQUE (owner, folded),
  CONSTRAINT a_tag_is_one_line       CHECK (strpos(name, chr(10)) = 0 AND name <> '')
);

CREATE TABLE asset_tags (
  asset bigint NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  tag   bigint NOT NULL REFERENCES tags (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, tag)
);

CREATE INDEX assets_of_tag ON asset_tags (tag, asset);

-- One asset with all that is told about it.
CREATE VIEW whole_assets AS
  SELECT a.*, e.state, e.model, e.dim, e.error, e.queued_at, e.completed_at, e.ended_order,
         (SELECT string_agg(t.id || ' ' || t.name, chr(10) ORDER BY t.folded)
            FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE at.asset = a.row) AS tags -- one a line: id, space, name
  FROM assets a JOIN embeddings e ON e.asset = a.row;
