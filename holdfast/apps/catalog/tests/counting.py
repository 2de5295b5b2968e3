"""How often PostgreSQL was asked about what lists show."""

import asyncpg

STATEMENTS = """
    SELECT coalesce(sum(calls), 0)::bigint
    FROM public.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND query ~ 'FROM (products|categories|deals)\\M'"""


async def asked_of_tables(db: asyncpg.Connection) -> int:
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    asked: int = await db.fetchval(STATEMENTS)
    return asked
