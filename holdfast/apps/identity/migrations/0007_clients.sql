-- Services that are not written here: their users sign in by us, or they call us by themselves.
CREATE TABLE clients (
  id text PRIMARY KEY,
  name text NOT NULL,
  secret_hash bytea,                -- null: it can keep no secret (an app on a phone, a page)
  redirect_uris text[] NOT NULL,
  logout_uris text[] NOT NULL,
  scopes text[] NOT NULL,           -- what it may ask for: openid, email, ..., or permissions
  trusted boolean NOT NULL,         -- our own: its users are not asked for consent
  service_id uuid UNIQUE REFERENCES users, -- whose roles it has when it calls by itself
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE consents (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  client_id text NOT NULL REFERENCES clients ON DELETE CASCADE,
  scopes text[] NOT NULL,
  given_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, client_id)
);
CREATE INDEX consents_client ON consents (client_id);
CREATE INDEX sessions_client ON sessions (client_id) WHERE client_id IS NOT NULL AND ended_at IS NULL;

-- Personal access tokens: what a script of the user's carries. The text of a token is not kept, nor
-- its hash: it is this id with a mark that only the service can make. One that is revoked is deleted.
CREATE TABLE personal_tokens (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL,
  scopes text[],                    -- null: everything that the user may
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz
);
CREATE INDEX personal_tokens_user ON personal_tokens (user_id, id);
