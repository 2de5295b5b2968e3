"""Partitions: made ahead of time, and dropped when all of what they hold is old.

Which tables, how large, how long: `partition_plans`, written by migrations. The work is one
function in the database that runs with its owner's rights, so the app itself may do no more.
"""

import logging

from holdfast.core.db import Database

log = logging.getLogger(__name__)


async def keep_partitions(db: Database) -> int:
    """Make and drop what is due; answers how many were made or dropped."""
    changed = int(await db.fetchval("SELECT keep_partitions()"))
    if changed:
        log.info("%d partitions were made or dropped", changed)
    return changed
