"""Pages: one feature's folder of templates, words and assets, in the common look.

A feature makes one `Pages` of its `pages/` folder (and of one that it shares with others), answers
requests with `page(...)`, and lists `router`, which serves the assets. Everything is read once,
when the process starts. The policy sent with each page allows our own origin only and no inline
script or style.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

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


Words = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Voice:
    """Words in one language; templates know it as `say`."""

    words: Words
    language: str

    def __call__(self, key: str, **values: Any) -> str:
        return self.words[key][self.language].format(**values)

    def first(self, keys: Iterable[str], **values: Any) -> str:
        """By the first of these keys that there are words for; empty if there are none."""
        key = next((key for key in keys if key in self.words), None)
        return self(key, **values) if key else ""


class Pages:
    def __init__(self, name: str, *folders: Path) -> None:
        self.name = name
        self._assets = _read_assets(folders)
        self._words = _read_words(*dict.fromkeys((LOOK, *folders)))
        self._templates = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader(folders), PrefixLoader({"shell": FileSystemLoader(LOOK)})]
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
            say=Voice(self._words, language),
            language=language,
            languages=LANGUAGES,
            in_language=partial(_in_language, request),
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


def _in_language(request: Request, language: str) -> str:
    """The address of this very page in a language."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    return f"{quote(request.url.path)}?{urlencode([*kept, ('lang', language)])}"


def _read_assets(folders: Iterable[Path]) -> dict[str, Asset]:
    return {
        path.name: Asset.read(path)
        for folder in folders
        for path in folder.iterdir()
        if path.suffix in MEDIA_TYPES
    }


def _read_words(*folders: Path) -> Words:
    words: dict[str, dict[str, str]] = {}
    for folder in folders:
        told = yaml.load((folder / "words.yaml").read_bytes(), Loader=yaml.CSafeLoader)
        for key, sentences in told.items():
            if sentences.keys() != LANGUAGES.keys():
                raise ValueError(f"{folder}/words.yaml: {key} is not in every language")
            if key in words:
                raise ValueError(f"{folder}/words.yaml: {key} has other words already")
            words[key] = sentences
    return words


SHELL = Pages("shell", LOOK)
