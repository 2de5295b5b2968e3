"""All that the front door serves in one process, without the door: the pages and every app.

Run as `python -m lab.peers.no_door --port PORT`, and served exactly as `holdfast serve gateway` is.
"""

import argparse
import os

from holdfast.core import manifest, web
from holdfast.core.serve import serve
from holdfast.core.settings import Settings
from holdfast.gateway.main import service


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    settings = Settings.load(os.environ)
    apps = [app.module("main").service(settings) for app in manifest.apps()]
    serve(web.build(settings, service(settings), *apps), settings, port=parser.parse_args().port)


if __name__ == "__main__":
    main()
