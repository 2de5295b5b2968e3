"""By what somebody signs in: password, authenticator app, passkeys, accounts elsewhere."""

from io import BytesIO
from pathlib import Path
from typing import Annotated
from uuid import UUID

import segno
from fastapi import Form, Request, Response
from markupsafe import Markup

from holdfast.apps.identity import browser
from holdfast.apps.identity.accounts import actions as accounts
from holdfast.apps.identity.accounts.schemas import ChangePasswordIn
from holdfast.apps.identity.browser import FreshPerson, Person
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.my_security.schemas import NewPasskeyForm
from holdfast.apps.identity.passkeys import actions as passkeys
from holdfast.apps.identity.passkeys.queries import select_passkeys
from holdfast.apps.identity.passkeys.schemas import BegunOut, RenamePasskeyIn
from holdfast.apps.identity.passwords import SHORTEST
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.second_factor import actions as second_factor
from holdfast.apps.identity.second_factor import rules
from holdfast.apps.identity.second_factor.queries import select_factors, select_totp_secret
from holdfast.apps.identity.second_factor.schemas import CodeIn
from holdfast.apps.identity.social import actions as social
from holdfast.apps.identity.social.queries import select_links
from holdfast.apps.identity.social.schemas import ProviderName
from holdfast.apps.identity.visitor import visitor_of

PAGE = "/account/security"

pages = FramedPages("my_security", Path(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)


@router.get("/account/security")
async def show_security(here: Here, request: Request, person: Person) -> Response:
    return pages.page(
        request,
        "security.html",
        factors=await select_factors(here.db, person.user_id),
        passkeys=await select_passkeys(here.db, person.user_id),
        links={link.provider: link for link in await select_links(here.db, person.user_id)},
        providers=here.providers,
        shortest=SHORTEST,
    )


@router.post("/account/security/password")
async def change_password(
    here: Here, request: Request, person: Person, wanted: Annotated[ChangePasswordIn, Form()]
) -> Response:
    await accounts.change_password(
        here,
        person,
        visitor_of(here, request),
        current=wanted.current_password,
        new=wanted.new_password,
    )
    response = go("/sign-in", done="password-changed")
    browser.end(here, response)
    return response


@router.post("/account/security/start-totp")
async def start_totp(here: Here, person: FreshPerson) -> Response:
    await second_factor.start_totp(here, person)
    return go(f"{PAGE}/totp")


@router.get("/account/security/totp")
async def show_totp(here: Here, request: Request, person: FreshPerson) -> Response:
    """The secret that waits for its first code, for as long as it does."""
    waiting = await select_totp_secret(here.db, person.user_id)
    if waiting is None or waiting.confirmed:
        return go(PAGE)
    secret = rules.unseal(waiting.sealed, person.user_id, here.secrets)
    picture = _picture(rules.uri(secret, person.grants.email or ""))
    return pages.page(request, "totp.html", secret=rules.readable(secret), picture=picture)


@router.post("/account/security/totp/confirm")
async def confirm_totp(
    here: Here, request: Request, person: FreshPerson, wanted: Annotated[CodeIn, Form()]
) -> Response:
    codes = await second_factor.confirm_totp(here, person, wanted.code)
    return pages.page(request, "recovery_codes.html", codes=codes, added=True)


@router.post("/account/security/totp/remove")
async def remove_totp(here: Here, person: FreshPerson) -> Response:
    await second_factor.remove_totp(here, person)
    return go(PAGE, done="totp-removed")


@router.post("/account/security/recovery-codes")
async def renew_recovery_codes(here: Here, request: Request, person: FreshPerson) -> Response:
    codes = await second_factor.renew_recovery_codes(here, person)
    return pages.page(request, "recovery_codes.html", codes=codes, added=False)


@router.post("/account/security/passkeys/options")
async def begin_passkey(here: Here, person: FreshPerson) -> BegunOut:
    begun = await passkeys.begin_passkey(here, person)
    return BegunOut(**begun._asdict())


@router.post("/account/security/passkeys")
async def add_passkey(
    here: Here, person: Person, wanted: Annotated[NewPasskeyForm, Form()]
) -> Response:
    await passkeys.add_passkey(
        here, person, ticket=wanted.ticket, name=wanted.name, credential=wanted.credential.told()
    )
    return go(PAGE, done="passkey-added")


@router.post("/account/security/passkeys/{passkey_id}/rename")
async def rename_passkey(
    here: Here, person: Person, passkey_id: UUID, wanted: Annotated[RenamePasskeyIn, Form()]
) -> Response:
    await passkeys.rename_passkey(here, person.user_id, passkey_id, name=wanted.name)
    return go(PAGE, done="passkey-renamed")


@router.post("/account/security/passkeys/{passkey_id}/remove")
async def remove_passkey(here: Here, person: FreshPerson, passkey_id: UUID) -> Response:
    await passkeys.remove_passkey(here, person.user_id, passkey_id)
    return go(PAGE, done="passkey-removed")


@router.post("/account/security/links/{provider}/unlink")
async def unlink(here: Here, person: FreshPerson, provider: ProviderName) -> Response:
    await social.unlink(here, person, provider)
    return go(PAGE, done="unlinked")


def _picture(uri: str) -> Markup:
    """A QR code as an image inside the page: no file, no script and no style attribute."""
    out = BytesIO()
    segno.make(uri, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=2, dark="#000"
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - nothing in it but numbers
