"""From `queries.sql` to `queries.py`: typed asyncpg functions for statements written as SQL.

sqlc reads the statements and asks a real, migrated PostgreSQL what goes in and what comes out; our
plugin writes one Python module beside each file. Nothing here runs in production, and nothing
builds SQL. `python -m checks.sqlc generate` is `make sql`.

A query in `queries.sql`:

    -- name: select_user_by_email :one
    -- The person behind this address.
    -- row: User
    SELECT id, email FROM users WHERE email = @email;

Its name begins with what it does: select, insert, update, delete, lock or upsert. `:one` answers a
row or None, `:many` a list, `:exec` nothing, `:execrows` how many rows. A single column is answered
as it is, without a row around it. Comments become the docstring, except those that direct:

    -- row: User           the row's name; queries with the same columns may share it
    -- exactly one row     `:one` never answers None: an absent row is an error
    -- nullable: a, b      these columns may be NULL, whatever the analyser believes
    -- not null: a, b      and these may not
    -- nullable items: c   the array given as this parameter may hold None

Parameters are `@name`; `sqlc.narg(name)` may be None. Beside an operator `@` would be an operator
itself: write `sqlc.arg(name)`. A parameter for a nullable column may be None, unless it is cast.
"""
