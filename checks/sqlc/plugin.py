"""The program that sqlc runs for each `queries.sql`: its request comes in, our module goes out."""

import sys
from base64 import b64encode

import msgspec

from checks.sqlc.module import write_module
from checks.sqlc.request import Request
from checks.sqlc.statement import RefusedError, understand


def main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        module = write_module([understand(query, request.enums) for query in request.queries])
    except RefusedError as refused:
        sys.exit(f"{request.settings.queries[0]}: {refused}")
    file = {"name": "queries.py", "contents": b64encode(module.encode()).decode()}
    sys.stdout.buffer.write(msgspec.json.encode({"files": [file]}))


if __name__ == "__main__":
    main()
