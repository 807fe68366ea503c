CREATE TABLE users (
  id         text   COLLATE "C" PRIMARY KEY, -- the owner of what he has added
  name       text   NOT NULL,
  folded     text   COLLATE "C" NOT NULL UNIQUE, -- case-folded name
  created_at bigint NOT NULL,
  CONSTRAINT nobody_is_nameless CHECK (id <> '' AND name <> '')
);

CREATE TABLE tokens (
  id           text   COLLATE "C" PRIMARY KEY, -- the part of a token that may be shown
  "user"       text   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         text   NOT NULL,                -- what it is for
  digest       bytea  NOT NULL,                -- SHA-256 of the whole token, which is kept nowhere
  scopes       text   NOT NULL,                -- some of `read write admin`, with spaces between
  created_at   bigint NOT NULL,
  expires_at   bigint,                         -- never if NULL
  last_used_at bigint,                         -- to the minute
  revoked_at   bigint,
  CONSTRAINT a_digest_is_sha256            CHECK (length(digest) = 32),
  CONSTRAINT a_token_is_good_for_something CHECK (scopes <> '')
);

CREATE INDEX tokens_of_user ON tokens ("user");
