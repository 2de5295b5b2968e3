"""From `queries.sql` to `queries.py`: typed asyncpg functions for statements written as SQL.

sqlc reads the statements and asks a real, migrated PostgreSQL what goes in and what comes out. Our
plugin for it (`plugin`) then writes one Python module beside each file. Nothing here runs in
production; `python -m checks.sqlc generate` is `make sql`.

How a query is written:

    -- name: select_user_by_email :one
    -- The person behind this address.
    -- row: User
    SELECT id, email FROM users WHERE email = @email;

The name begins with what it does: select, insert, update, delete, lock or upsert. `:one` answers a
row or None, `:many` a list, `:exec` nothing, `:execrows` a number. A single column answers its
value without a row. Comments become the docstring, but for four lines that direct the generator:

    -- row: User             the row's name, which queries with the same columns may share
    -- exactly one row       `:one` never answers None; an absent row is an error
    -- nullable: a, b        these columns may be NULL, whatever the analyser believes
    -- not null: a, b        these may not

Parameters are written `@name`. Next to an operator that becomes `sqlc.arg(name)`, because `@` is
itself an operator; one that may be None is `sqlc.narg(name)`; a cast (`@name::text`) says that a
parameter compared with a nullable column is not None itself.
"""
