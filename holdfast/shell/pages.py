"""Pages: one feature's folder of templates, words and assets, in the common look.

A feature makes one `Pages` of its `pages/` folder, answers requests with `page(...)`, and lists
`router`, which serves the folder's assets. Everything is read once, when the process starts. The
policy sent with each page allows our own origin only and no inline script or style.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fastapi import APIRouter
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from holdfast.core.errors import NotFoundError
from holdfast.shell.language import COOKIE, LANGUAGES, asked_language, choose_language
from holdfast.shell.prose import prose

LOOK = Path(__file__).parent / "look"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
}
YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Asset:
    body: bytes
    media_type: str
    version: str

    @classmethod
    def read(cls, path: Path) -> "Asset":
        body = path.read_bytes()
        return cls(body, MEDIA_TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:16])


class Pages:
    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._assets = _read_assets(folder)
        self._words = _read_words(LOOK) | _read_words(folder)
        self._templates = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader(folder), PrefixLoader({"shell": FileSystemLoader(LOOK)})]
            ),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters["prose"] = prose
        self._templates.globals["asset"] = self.address_of
        self.router = APIRouter(include_in_schema=False)
        self.router.add_api_route(f"/static/{name}/{{file}}", self.send_asset, methods=["GET"])

    def page(self, request: Request, template: str, **context: Any) -> Response:
        language = choose_language(request)
        html = self._templates.get_template(template).render(
            say=self._speaker(language),
            language=language,
            languages=LANGUAGES,
            path=request.url.path,
            shell_asset=SHELL.address_of,
            **context,
        )
        response = HTMLResponse(html, headers=PAGE_HEADERS)
        if asked_language(request):
            response.set_cookie(COOKIE, language, max_age=YEAR_S, samesite="lax", httponly=True)
        return response

    def address_of(self, file: str) -> str:
        """An address that changes with the file's content, so that browsers may keep it."""
        return f"/static/{self.name}/{file}?v={self._assets[file].version}"

    async def send_asset(self, request: Request, file: str) -> Response:
        asset = self._assets.get(file)
        if asset is None:
            raise NotFoundError
        tag = f'"{asset.version}"'
        fresh = request.query_params.get("v") == asset.version
        headers = {
            "ETag": tag,
            "Cache-Control": f"public, max-age={YEAR_S}, immutable" if fresh else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(asset.body, headers=headers, media_type=asset.media_type)

    def _speaker(self, language: str) -> Callable[..., str]:
        def say(key: str, **values: Any) -> str:
            return self._words[key][language].format(**values)

        return say


def _read_assets(folder: Path) -> dict[str, Asset]:
    return {path.name: Asset.read(path) for path in folder.iterdir() if path.suffix in MEDIA_TYPES}


def _read_words(folder: Path) -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = yaml.safe_load(
        (folder / "words.yaml").read_text(encoding="utf-8")
    )
    for key, sentences in words.items():
        if sentences.keys() != LANGUAGES.keys():
            raise ValueError(f"{folder}/words.yaml: {key} is not in every language")
    return words


SHELL = Pages("shell", LOOK)
