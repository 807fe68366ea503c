-- The schema of a library in PostgreSQL. All times are milliseconds since 1970.
-- `owner` is users.id, or '' in a library without accounts. The same content is a separate asset of each owner.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE assets (
  row        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner      text    COLLATE "C" NOT NULL DEFAULT '',
  id         text    COLLATE "C" NOT NULL UNIQUE,
  checksum   text    COLLATE "C" NOT NULL, -- SHA-256 of the content
  filename   text    NOT NULL,
  folder     text    NOT NULL DEFAULT '', -- the name of the folder that held the file; '' if unknown
  mime       text    NOT NULL,
  size_bytes bigint  NOT NULL,
  width      integer,
  height     integer,
  favorite   boolean NOT NULL DEFAULT false,
  created_at bigint  NOT NULL,
  updated_at bigint  NOT NULL,
  deleted_at bigint,
  copied_at  bigint  NOT NULL DEFAULT 0, -- when its picture or file was last taken out to be used; 0: never
  -- This column order also serves the lookup of a content across all owners.
  CONSTRAINT assets_checksum_owner_key UNIQUE (checksum, owner),
  CONSTRAINT assets_checksum_check     CHECK (checksum ~ '^[0-9a-f]{64}$'),
  CONSTRAINT assets_size_bytes_check   CHECK (size_bytes > 0)
);

CREATE INDEX assets_by_created_at ON assets (owner, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_updated_at ON assets (owner, updated_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_copied_at  ON assets (owner, copied_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_folder     ON assets (owner, folder, created_at, row) WHERE deleted_at IS NULL;
CREATE INDEX assets_gif           ON assets (owner, created_at, row) WHERE deleted_at IS NULL AND mime = 'image/gif';
CREATE INDEX assets_tall          ON assets (owner, created_at, row) WHERE deleted_at IS NULL AND height >= 2 * width;
CREATE INDEX assets_in_trash      ON assets (owner, deleted_at, row) WHERE deleted_at IS NOT NULL;
-- This index covers the sum of the sizes of an owner, which each upload of an owner with a quota computes.
CREATE INDEX assets_by_size       ON assets (owner, size_bytes);

-- One row holds the job and its result. Every asset has exactly one. Vectors, trigrams and hashes have tables of their
-- own: a change of state rewrites neither them nor their indexes.
CREATE TABLE embeddings (
  asset          bigint  PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  state          text    NOT NULL DEFAULT 'pending',
  urgent         boolean NOT NULL DEFAULT false, -- a person requested it: it precedes all others
  attempts       integer NOT NULL DEFAULT 0,     -- counts failed attempts only
  claim_number   bigint  NOT NULL DEFAULT 0,     -- fencing token: every claim increments it, older claims cannot write
  worker         integer,                        -- number of the worker that has claimed the job; see jobs.py
  queued_at      bigint  NOT NULL,
  due_at         bigint  NOT NULL,               -- the job is not claimed before this time
  error_message  text,
  model          text,
  dim            integer NOT NULL DEFAULT 0,     -- dimension of the model; 0 until a result exists
  text           text,                           -- text recognized in the image; '' if it contains none
  completed_at   bigint,
  completion_seq bigint  UNIQUE,                 -- increases as embeddings become ready or fail; a trigger assigns it
  CONSTRAINT embeddings_state_check        CHECK (state IN ('pending', 'processing', 'ready', 'failed')),
  CONSTRAINT embeddings_ready_check        CHECK (state <> 'ready' OR (model IS NOT NULL AND text IS NOT NULL)),
  CONSTRAINT embeddings_failed_check       CHECK (state <> 'failed' OR error_message IS NOT NULL),
  CONSTRAINT embeddings_completed_at_check CHECK ((state IN ('ready', 'failed')) = (completed_at IS NOT NULL)
                                              AND (completed_at IS NULL) = (completion_seq IS NULL)),
  CONSTRAINT embeddings_worker_check       CHECK ((state = 'processing') = (worker IS NOT NULL))
) WITH (fillfactor = 80); -- leaves room for HOT updates within the page

CREATE INDEX embeddings_pending   ON embeddings (urgent DESC, due_at) WHERE state = 'pending';
CREATE INDEX embeddings_by_worker ON embeddings (worker) WHERE state = 'processing';
CREATE INDEX embeddings_without_text ON embeddings (asset) WHERE text = '';

CREATE SEQUENCE worker_numbers AS integer CYCLE;

-- This table holds one row. `library_id` distinguishes the cursors of this library from those of another.
CREATE TABLE completion_sequence AS
  SELECT substr(md5(random()::text || clock_timestamp()::text), 1, 8) AS library_id, 0::bigint AS last_seq;

-- The trigger runs for every writer, psql included. It assigns completion_seq and notifies the servers and workers.
-- A real sequence would not do: its numbers become visible in the order of the commits, and a reader that has seen 8
-- would never see a 7 that commits later. The UPDATE locks the row of completion_sequence until the transaction ends,
-- so numbers become visible in their order, without gaps.
CREATE FUNCTION on_embedding_state_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state IN ('ready', 'failed') THEN
    UPDATE completion_sequence SET last_seq = last_seq + 1 RETURNING last_seq INTO NEW.completion_seq;
    NEW.completed_at := coalesce(NEW.completed_at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    NEW.worker := NULL;
    NEW.urgent := false;
    PERFORM pg_notify('sploot_embedding_completed', (SELECT id FROM assets WHERE row = NEW.asset));
  ELSE
    NEW.completion_seq := NULL;
    NEW.completed_at := NULL;
    IF NEW.state = 'pending' THEN
      NEW.worker := NULL;
      NOTIFY sploot_job_added;
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER embeddings_state_changed BEFORE UPDATE OF state ON embeddings
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION on_embedding_state_change();
CREATE TRIGGER embeddings_added BEFORE INSERT ON embeddings
  FOR EACH ROW EXECUTE FUNCTION on_embedding_state_change();

-- The inner product of a vector with a query vector is their cosine. One text_vector column serves all text models:
-- zeros pad vectors of fewer dimensions and do not change the product. Users supply their own image model, of any
-- dimension: the server creates its index when the model is configured (search_index.py).
CREATE TABLE vectors (
  asset        bigint PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  owner        text   COLLATE "C" NOT NULL,
  text_vector  vector(896),
  image_vector vector,
  hubness      real   NOT NULL DEFAULT 0 -- similarity that any query has to the text
);

CREATE INDEX vectors_by_owner  ON vectors (owner);
CREATE INDEX text_vectors_hnsw ON vectors USING hnsw ((text_vector::halfvec(896)) halfvec_ip_ops);

-- Near-duplicates have the same duplicate_group: the row of the first of them. They share at least one band of their
-- hashes or words, so a new image is compared with few others (domain/near_duplicates.py).
CREATE TABLE image_hashes (
  asset           bigint    PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  dhash           bytea     NOT NULL,
  colours         bytea     NOT NULL, -- mean red, green, blue of each quarter
  aspect_ratio    float8    NOT NULL, -- without borders
  duplicate_group bigint    NOT NULL,
  dhash_bands     integer[] NOT NULL
);

CREATE INDEX image_hashes_by_duplicate_group ON image_hashes (duplicate_group);
CREATE INDEX image_hashes_by_band            ON image_hashes USING gin (dhash_bands);

-- The text of ready assets, folded and without spaces, because OCR joins words. `trigrams` holds hashed trigrams.
CREATE TABLE search_texts (
  asset      bigint    PRIMARY KEY REFERENCES embeddings (asset) ON DELETE CASCADE,
  normalized text      COLLATE "C" NOT NULL,
  trigrams   integer[] NOT NULL
);

CREATE INDEX search_texts_by_trigram ON search_texts USING gin (trigrams);

-- This table holds at most one row: the id that the store of the originals has in its object `store-id`.
CREATE TABLE blob_store (
  id text NOT NULL
);

CREATE TABLE tags (
  row         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner       text   COLLATE "C" NOT NULL DEFAULT '',
  id          text   COLLATE "C" NOT NULL UNIQUE,
  name        text   NOT NULL,
  folded_name text   COLLATE "C" NOT NULL, -- case-folded name: `Cat` and `cat` are one tag
  created_at  bigint NOT NULL,
  CONSTRAINT tags_owner_folded_name_key UNIQUE (owner, folded_name),
  CONSTRAINT tags_name_check            CHECK (strpos(name, chr(10)) = 0 AND name <> '')
);

CREATE TABLE asset_tags (
  asset bigint NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  tag   bigint NOT NULL REFERENCES tags (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, tag)
);

CREATE INDEX asset_tags_by_tag ON asset_tags (tag, asset);

-- A template is a well-known picture that many memes share, with a name.
CREATE TABLE templates (
  row         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id          text COLLATE "C" NOT NULL UNIQUE,
  owner       text COLLATE "C" NOT NULL DEFAULT '',
  name        text    NOT NULL,
  folded_name text COLLATE "C" NOT NULL,            -- case-folded name
  keywords    text    NOT NULL DEFAULT '', -- each after a tab
  created_at  bigint NOT NULL,
  CONSTRAINT templates_owner_folded_name_key UNIQUE (owner, folded_name),
  CONSTRAINT templates_name_check            CHECK (strpos(name, chr(10)) = 0 AND name <> '')
);

-- A row number is never used again: image_features.matched refers to it.
CREATE TABLE template_pictures (
  row      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  template bigint NOT NULL REFERENCES templates (row) ON DELETE CASCADE,
  owner    text COLLATE "C" NOT NULL,
  checksum text COLLATE "C" NOT NULL, -- SHA-256 of the picture, which is not stored itself
  features bytea   NOT NULL, -- see domain/template_features.py
  mirrored bytea   NOT NULL, -- the features of its mirror image
  CONSTRAINT template_pictures_template_checksum_key UNIQUE (template, checksum)
);

CREATE INDEX template_pictures_by_owner ON template_pictures (owner, row);

-- The trigger notifies the workers, which compare all assets with a new picture. It runs before the row gets its
-- number, and locks the row of completion_sequence until the transaction ends: so pictures become visible in the order
-- of their numbers, and no asset is recorded as compared with a picture that was not visible yet.
CREATE FUNCTION on_template_picture_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM completion_sequence FOR UPDATE;
  NOTIFY sploot_job_added;
  RETURN NULL;
END $$;

CREATE TRIGGER template_pictures_added BEFORE INSERT ON template_pictures
  FOR EACH STATEMENT EXECUTE FUNCTION on_template_picture_added();

CREATE TABLE asset_templates (
  asset    bigint NOT NULL REFERENCES assets (row) ON DELETE CASCADE,
  template bigint NOT NULL REFERENCES templates (row) ON DELETE CASCADE,
  PRIMARY KEY (asset, template)
);

CREATE INDEX asset_templates_by_template ON asset_templates (template, asset);

CREATE TABLE image_features (
  asset    bigint PRIMARY KEY REFERENCES assets (row) ON DELETE CASCADE,
  owner    text COLLATE "C" NOT NULL,
  matched  bigint NOT NULL DEFAULT 0, -- it was compared with the template pictures up to this row
  features bytea   NOT NULL
);

CREATE INDEX image_features_by_matched ON image_features (owner, matched);

-- `tags` and `templates` have one line per tag or template: id, space, name, keywords. Their checks exclude newlines.
CREATE VIEW asset_details AS
  SELECT a.*, e.state, e.model, e.dim, e.text, e.error_message, e.queued_at, e.completed_at, e.completion_seq,
         (SELECT string_agg(t.id || ' ' || t.name, chr(10) ORDER BY t.folded_name)
            FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE at.asset = a.row) AS tags,
         (SELECT string_agg(t.id || ' ' || t.name || t.keywords, chr(10) ORDER BY t.folded_name)
            FROM asset_templates at JOIN templates t ON t.row = at.template WHERE at.asset = a.row) AS templates
  FROM assets a JOIN embeddings e ON e.asset = a.row;

-- A share link shows one image to anyone who has the link.
CREATE TABLE shares (
  slug       text   COLLATE "C" PRIMARY KEY,
  asset      bigint NOT NULL UNIQUE REFERENCES assets (row) ON DELETE CASCADE,
  created_at bigint NOT NULL,
  expires_at bigint -- NULL: the link does not expire
);

-- Deleting an image ends its link for good: adding the same content again restores the image, but not the link.
CREATE FUNCTION on_asset_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM shares WHERE asset = NEW.row;
  RETURN NULL;
END $$;

CREATE TRIGGER assets_deleted AFTER UPDATE OF deleted_at ON assets
  FOR EACH ROW WHEN (NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION on_asset_deleted();

CREATE TABLE users (
  id          text   COLLATE "C" PRIMARY KEY,
  name        text   NOT NULL,
  folded_name text   COLLATE "C" NOT NULL UNIQUE,
  created_at  bigint NOT NULL,
  quota_bytes bigint, -- of all assets, deleted ones included; NULL: no limit
  is_admin    integer NOT NULL DEFAULT 0, -- 1: the page shows the members, invitations and links of all
  CONSTRAINT users_name_check CHECK (id <> '' AND name <> '')
);

CREATE TABLE tokens (
  id           text   COLLATE "C" PRIMARY KEY, -- the part of a token that may be displayed
  "user"       text   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         text   NOT NULL,                -- describes the token's purpose
  digest       bytea  NOT NULL,                -- SHA-256 of the whole token; the token itself is not stored
  scopes       text   NOT NULL,                -- a subset of `read write admin`, separated by spaces
  created_at   bigint NOT NULL,
  expires_at   bigint,                         -- NULL: the token does not expire
  last_used_at bigint,                         -- to the minute
  revoked_at   bigint,
  CONSTRAINT tokens_digest_check CHECK (length(digest) = 32),
  CONSTRAINT tokens_scopes_check CHECK (scopes <> '')
);

CREATE INDEX tokens_by_user ON tokens ("user");

-- A session is a browser that a user signed in.
CREATE TABLE sessions (
  id           text   COLLATE "C" PRIMARY KEY, -- the part of the cookie that may be displayed
  "user"       text   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  token        text   COLLATE "C" REFERENCES tokens (id) ON DELETE CASCADE, -- it ends with this token; NULL: an invitation
  digest       bytea  NOT NULL,                -- SHA-256 of the cookie
  scopes       text   NOT NULL,                -- as in tokens, without `admin`
  user_agent   text   NOT NULL,
  created_at   bigint NOT NULL,
  last_used_at bigint NOT NULL,                -- to the minute
  CONSTRAINT sessions_digest_check CHECK (length(digest) = 32),
  CONSTRAINT sessions_scopes_check CHECK (scopes <> '')
);

CREATE INDEX sessions_by_user ON sessions ("user");

-- An invitation signs in one browser without a token. Using it deletes it.
CREATE TABLE invitations (
  id         text   COLLATE "C" PRIMARY KEY,
  "user"     text   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  digest     bytea  NOT NULL, -- SHA-256 of the whole invitation
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  CONSTRAINT invitations_digest_check CHECK (length(digest) = 32)
);

CREATE INDEX invitations_by_user ON invitations ("user");
