"""Which failures of a command are told in a sentence: those whose reason is known.

Anything else is a fault of ours and keeps its trace.
"""

import asyncpg
from redis.exceptions import RedisError

from holdfast.cli.child import GaveUpError
from holdfast.cli.data_folder import DataFolderError
from holdfast.cli.deals.shop import RushError
from holdfast.cli.listener import PortError
from holdfast.cli.servers import ServerError
from holdfast.cli.serving import NoGrpcError
from holdfast.core.errors import ProblemError
from holdfast.core.manifest import NoSuchAppError
from holdfast.core.migrate import MigrationError
from holdfast.core.settings import SettingsError


def errors() -> tuple[type[Exception], ...]:
    return (
        DataFolderError,
        GaveUpError,
        MigrationError,
        NoGrpcError,
        NoSuchAppError,
        PortError,
        ProblemError,
        RushError,
        ServerError,
        SettingsError,
        asyncpg.PostgresError,
        RedisError,
        OSError,
    )
