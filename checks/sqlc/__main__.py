"""`python -m checks.sqlc generate`: write each `queries.py` from the `queries.sql` beside it."""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from checks.sqlc.pipeline import REPOSITORY, GenerateError, generate
from holdfast.cli.servers import free_port, postgres, running
from holdfast.core.manifest import apps
from holdfast.core.migrate import migrate


def main() -> None:
    if sys.argv[1:] != ["generate"]:
        sys.exit("Usage: python -m checks.sqlc generate")
    with (
        TemporaryDirectory(prefix="holdfast-") as data,
        running(postgres(Path(data), free_port(), {"fsync": "off"})) as server,
    ):
        url = server.server.url
        asyncio.run(_migrate_all(url))
        try:
            modules = generate(url)
        except GenerateError as error:
            sys.exit(str(error))
    for path, text in modules.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(REPOSITORY))  # noqa: T201


async def _migrate_all(url: str) -> None:
    for app in apps():
        await migrate(url, app)


if __name__ == "__main__":
    main()
