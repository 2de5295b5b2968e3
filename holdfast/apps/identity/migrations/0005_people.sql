-- What we know of an account besides its name. A service account is a user without an address: it
-- has roles and sessions like everyone, and no way to sign in but its client's secret.
ALTER TABLE users
  ALTER COLUMN email DROP NOT NULL,
  ADD COLUMN service boolean NOT NULL DEFAULT false,
  ADD COLUMN email_verified_at timestamptz,
  ADD COLUMN language text NOT NULL DEFAULT 'en',
  ADD COLUMN banned_at timestamptz,
  ADD COLUMN ban_reason text,
  ADD CONSTRAINT users_person_has_email CHECK (service = (email IS NULL));

-- How a session began, and what it may be used for.
ALTER TABLE sessions
  ADD COLUMN client_id text,        -- null: our own pages and apps
  ADD COLUMN scopes text[],         -- null: everything that the user may
  ADD COLUMN amr text[] NOT NULL DEFAULT '{pwd}',
  ADD COLUMN authenticated_at timestamptz NOT NULL DEFAULT now();
UPDATE sessions SET authenticated_at = created_at;

-- Whoever deletes an account looks for all of its sessions, also for those that have ended.
CREATE INDEX sessions_user ON sessions (user_id, id);
DROP INDEX sessions_open;

-- One-time tickets: links in mails, and the steps of a sign-in that takes several requests.
CREATE TABLE tickets (
  hash bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  purpose text NOT NULL,
  user_id uuid REFERENCES users ON DELETE CASCADE,
  facts jsonb NOT NULL,
  used_at timestamptz,
  PRIMARY KEY (hash, expires_at)
) PARTITION BY RANGE (expires_at);
CREATE INDEX tickets_user ON tickets (user_id, purpose) WHERE user_id IS NOT NULL;

-- Mails wait here, committed with what they tell of. Nothing in them is secret: a link's ticket is
-- made when the mail is sent, and so is the decision whether the address has an account.
CREATE TABLE mails (
  id uuid NOT NULL DEFAULT uuidv7(),
  created_at timestamptz NOT NULL DEFAULT now(),
  template text NOT NULL,
  recipient text NOT NULL,
  language text NOT NULL,
  facts jsonb NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz,
  given_up_at timestamptz,
  last_error text,
  content text,                     -- only in development, for the page that shows the mails
  PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX mails_waiting ON mails (next_attempt_at)
  WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX mails_given_up ON mails (given_up_at) WHERE given_up_at IS NOT NULL;

-- Who did what to whom, for administrators and for the account's owner.
CREATE TABLE audit_log (
  id uuid NOT NULL DEFAULT uuidv7(),
  at timestamptz NOT NULL DEFAULT now(),
  actor_id uuid,                    -- null: nobody was signed in, or an operator's command
  user_id uuid,                     -- whose account it was done to, where anybody's
  action text NOT NULL,             -- user.banned, totp.added, ...
  facts jsonb NOT NULL,
  PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX audit_log_user ON audit_log (user_id, id DESC);
CREATE INDEX audit_log_actor ON audit_log (actor_id, id DESC);
CREATE INDEX audit_log_action ON audit_log (action, id DESC);

-- Rights would not do: they are granted anew, on all tables, whenever somebody migrates.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE =
    format('Rows of %s are neither changed nor deleted; they leave with it.', TG_TABLE_NAME);
END $$;
CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

INSERT INTO partition_plans VALUES
  ('tickets', '1 day', 3, '1 day'),
  ('mails', '1 day', 1, '7 days'),
  ('audit_log', '28 days', 1, '728 days');

INSERT INTO permissions (name, description) VALUES
  ('users:write', 'Ban, unlock and delete accounts'),
  ('audit:read', 'See who changed what'),
  ('clients:read', 'See the services that sign their users in here'),
  ('clients:write', 'Add, change and remove such services');
INSERT INTO role_permissions
  SELECT 'admin', unnest(ARRAY['users:write', 'audit:read', 'clients:read', 'clients:write']);

SELECT keep_partitions();
