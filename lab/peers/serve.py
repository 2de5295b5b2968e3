"""Any ASGI application under uvicorn, with the options that Holdfast's workers have.

Ours are served by our own HTTP protocol, so that only the application differs. What others made
gets uvicorn's: that is how it would be run.
"""

import argparse
import pkgutil

import uvicorn

OURS = "holdfast.core.protocol:BoundedProtocol"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("application")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--plain", action="store_true", help="with uvicorn's own HTTP protocol")
    told = parser.parse_args()
    uvicorn.run(
        told.application,
        port=told.port,
        loop="uvloop",
        http="httptools" if told.plain else pkgutil.resolve_name(OURS),
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
