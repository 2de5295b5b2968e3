CREATE TABLE users (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  email text NOT NULL UNIQUE CHECK (email = lower(email COLLATE "C")), -- the app knows more letters
  name text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE credentials (
  user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
  password_hash text NOT NULL,      -- argon2id, or bcrypt until its owner signs in again
  changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE permissions (
  name text PRIMARY KEY,            -- area:verb
  description text NOT NULL
);

CREATE TABLE roles (
  name text PRIMARY KEY,
  description text NOT NULL,
  built_in boolean NOT NULL DEFAULT false
);

CREATE TABLE role_permissions (
  role text NOT NULL REFERENCES roles ON DELETE CASCADE,
  permission text NOT NULL REFERENCES permissions,
  PRIMARY KEY (role, permission)
);

CREATE TABLE user_roles (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  role text NOT NULL REFERENCES roles ON DELETE CASCADE,
  PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_role ON user_roles (role);

INSERT INTO permissions (name, description) VALUES
  ('users:read', 'See all accounts'),
  ('roles:read', 'See roles and permissions'),
  ('roles:write', 'Make roles and permissions, and change what a role permits'),
  ('roles:assign', 'Give roles to users and take them away'),
  ('sessions:write', 'End anyone''s sessions'),
  ('history:read', 'See anyone''s login history');
INSERT INTO roles (name, description, built_in) VALUES
  ('admin', 'May do everything', true),
  ('user', 'Everyone who has registered', true);
INSERT INTO role_permissions SELECT 'admin', name FROM permissions;
