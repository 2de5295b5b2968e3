"""Passwords are refused when they are chosen, for one reason only: that others would guess them.

After NIST SP 800-63B-4: fifteen characters or more, any characters, no rules of composition, nothing that
is common, expected or stolen. Nothing here depends on whether an account exists.
"""

import asyncio
import logging
from urllib.parse import urlsplit

import aiohttp

from holdfast.apps.identity.password_policy import client
from holdfast.apps.identity.password_policy.cache import is_common
from holdfast.apps.identity.password_policy.rules import core, is_expected, is_plain, words_about
from holdfast.apps.identity.passwords import SHORTEST, normalised
from holdfast.apps.identity.resources import Identity
from holdfast.core.errors import InvalidError

log = logging.getLogger(__name__)


async def refuse_weak(
    here: Identity, password: str, *, email: str, field: str = "password"
) -> None:
    """Refuse a new password that is too short, or that is among the first to be tried."""
    chosen = normalised(password)
    host = urlsplit(here.settings.origin).hostname or ""
    if len(chosen) < SHORTEST:
        raise InvalidError((field, f"Use at least {SHORTEST} characters, for example four words."))
    if is_plain(chosen):
        raise InvalidError((field, "This is a repetition or a sequence. Choose several words."))
    if is_expected(chosen, words_about(email, host)):
        raise InvalidError(
            (field, "This is your address or this service's name. Choose something else.")
        )
    if is_common(core(chosen)):
        raise InvalidError(
            (field, "This comes down to one common password or name. Choose several words.")
        )
    if await _is_stolen(here, chosen):
        raise InvalidError(
            (field, "This password is in lists of stolen passwords. Choose another one.")
        )


async def _is_stolen(here: Identity, password: str) -> bool:
    """Whether the operator's sources know it. One that is away refuses nobody."""
    digest = client.digest_of(password)
    file, url = here.options.breached_file, here.options.breached_range_url
    try:
        if file is not None and await asyncio.to_thread(client.is_in_file, file, digest):
            return True
        return url is not None and await client.is_in_range(here.http, url, digest)
    except (OSError, ValueError, aiohttp.ClientError) as error:
        what = type(error).__name__  # its text may hold the beginning of the hash
        log.warning("A password was not looked for among the stolen ones: %s", what)
        return False
