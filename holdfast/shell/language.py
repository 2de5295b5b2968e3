"""Language: which of ours the reader gets.

`?lang=` decides and is remembered in a cookie; without either, the browser's `Accept-Language`
does. This module chooses a language; the words themselves are in each `pages/words.yaml`.
"""

from starlette.requests import Request

LANGUAGES = {"en": "English", "ko": "한국어"}
DEFAULT = "en"
COOKIE = "holdfast_lang"


def asked_language(request: Request) -> str | None:
    asked = request.query_params.get("lang")
    return asked if asked in LANGUAGES else None


def choose_language(request: Request) -> str:
    if asked := asked_language(request):
        return asked
    remembered = request.cookies.get(COOKIE)
    if remembered in LANGUAGES:
        return remembered
    return preferred_language(request.headers.get("accept-language", ""))


def preferred_language(accept_language: str) -> str:
    """The best of ours by the header's q-values; the earlier one where two are equal."""
    best, best_weight = DEFAULT, 0.0
    for part in accept_language.split(","):
        tag, _, parameters = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
