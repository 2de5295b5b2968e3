"""New passwords: what is refused and why, and that nobody is asked more than he must know."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from unicodedata import normalize

import bcrypt
import pytest
from aiohttp import ClientTimeout, web
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.identity.options import Options
from holdfast.apps.identity.password_policy import client
from holdfast.apps.identity.password_policy.actions import refuse_weak
from holdfast.apps.identity.password_policy.cache import FILE, PREFIX_BYTES, is_common
from holdfast.apps.identity.password_policy.client import digest_of, is_in_file
from holdfast.apps.identity.password_policy.rules import AROUND, core, repeated
from holdfast.apps.identity.resources import Identity
from holdfast.core.errors import InvalidError
from holdfast.core.settings import SettingsError

EMAIL = "ada.lovelace@analytical.example"
STOLEN = "kettle ampersand violin"


async def refusal(here: Identity, password: str) -> str | None:
    try:
        await refuse_weak(here, password, email=EMAIL, field="new_password")
    except InvalidError as error:
        (told,) = error.extra["errors"]
        assert told["field"] == "new_password"
        return str(told["message"])
    return None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("fourteen chars", "at least 15"),
        ("한국어로열다섯글자", "at least 15"),
        (normalize("NFD", "é" * 7 + "abcdefg"), "at least 15"),  # 21 as sent, 14 as counted
        ("aaaaaaaaaaaaaaa", "repetition"),
        ("Xq7Xq7Xq7Xq7Xq7", "repetition"),
        ("123456789012345", "sequence"),
        ("zyxwvutsrqponmlkj", "sequence"),
        ("QWERTYUIOPasdfgh", "sequence"),
        ("qwertyuiop123456", "sequence"),
        ("1qaz2wsx3edc4rfv", "sequence"),
        ("passwordpassword", "common"),
        ("Password1234567!", "common"),
        ("!!!trustno1 trustno1 trustno1", "common"),
        ("Christopher2027!!", "common"),
        ("holdfast1234567", "service"),
        ("HoldfastHoldfast", "service"),
        ("Ada.Lovelace1815", "address"),
        ("ada.lovelace@analytical.example", "address"),
        ("analytical00000", "address"),
    ],
)
async def test_what_others_would_try_first_is_refused(
    here: Identity, password: str, reason: str
) -> None:
    assert reason in str(await refusal(here, password))


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "correct horse battery",
        "my password is not password",  # a common word inside does no harm
        "한국어로 쓴 긴 비밀번호입니다",
        "   seven   spaces   ",
        "83510274967215380",
        "a8f3b2c4d5e6f7081",
        "v" + "ж" * 14 + "q",
        "x7" * 32 + "the end of sixty-four and more",
    ],
)
async def test_anything_else_is_accepted_without_rules_of_composition(
    here: Identity, password: str
) -> None:
    assert await refusal(here, password) is None


@given(
    word=st.sampled_from(["password", "dragon", "letmein", "sunshine", "elizabeth"]),
    times=st.integers(1, 6),
    before=st.text(AROUND, max_size=6),
    behind=st.text(AROUND, max_size=20),
)
def test_a_common_word_is_known_however_it_is_repeated_and_padded(
    word: str, times: int, before: str, behind: str
) -> None:
    assert is_common(core(before + word.title() * times + behind))


@given(st.text(max_size=60))
def test_a_core_has_no_simpler_one(text: str) -> None:
    assert core(core(text)) == core(text)


@given(st.text("ab1", min_size=1, max_size=30))
def test_a_repetition_gives_the_whole_again(text: str) -> None:
    unit = repeated(text)
    assert (unit * len(text))[: len(text)] == text
    shorter = (text[:n] for n in range(1, len(text) // 2 + 1))
    assert unit == next((u for u in shorter if (u * len(text)).startswith(text)), text)


def test_the_list_is_sorted_and_small_and_errs_once_in_a_hundred_thousand() -> None:
    whole = FILE.read_bytes()
    prefixes = [whole[at : at + PREFIX_BYTES] for at in range(0, len(whole), PREFIX_BYTES)]
    assert prefixes == sorted(set(prefixes))
    assert len(whole) <= 150_000
    assert len(prefixes) / 256**PREFIX_BYTES < 1 / 100_000


async def test_a_password_matches_however_the_keyboard_spells_it(here: Identity) -> None:
    stored = await here.passwords.hash(normalize("NFD", "Übergrößenträger"))
    assert await here.passwords.matches(stored, normalize("NFC", "Übergrößenträger"))
    assert not await here.passwords.matches(stored, "Ubergrossentrager")


async def test_hashes_made_of_the_text_as_it_came_still_match(here: Identity) -> None:
    raw = normalize("NFD", "Übergrößenträger")
    earlier = here.passwords._argon2.hash(raw)
    imported = bcrypt.hashpw(raw.encode(), bcrypt.gensalt(4)).decode()
    for stored in (earlier, imported):
        assert await here.passwords.matches(stored, raw)
        assert not await here.passwords.matches(stored, normalize("NFC", raw))


def hash_list(folder: Path, *passwords: str, newline: str = "\r\n") -> Path:
    """As it can be downloaded: sorted, in capitals."""
    file = folder / "stolen.txt"
    hashes = sorted(sha1(each.encode(), usedforsecurity=False).hexdigest() for each in passwords)
    file.write_bytes("".join(f"{each.upper()}:3{newline}" for each in hashes).encode())
    return file


@given(st.sets(st.integers(0, 400), min_size=1, max_size=60), st.sampled_from(["\n", "\r\n"]))
def test_a_file_knows_exactly_its_own(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], newline: str
) -> None:
    file = hash_list(tmp_path_factory.mktemp("f"), *map(str, numbers), newline=newline)
    if len(numbers) % 2:  # with and without an end of the last line
        file.write_bytes(file.read_bytes().removesuffix(newline.encode()))
    found = {number for number in range(401) if is_in_file(file, digest_of(str(number)))}
    assert found == numbers


async def test_a_password_of_the_operators_file_is_refused(here: Identity, tmp_path: Path) -> None:
    file = hash_list(tmp_path, STOLEN, "another", "and one more")
    here = replace(here, options=Options(breached_file=file))
    assert "stolen" in str(await refusal(here, STOLEN))
    assert await refusal(here, STOLEN + " nobody has") is None


async def test_a_file_that_went_away_refuses_nobody_and_is_told(
    here: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = hash_list(tmp_path, STOLEN)
    here = replace(here, options=Options(breached_file=file))
    file.unlink()
    assert await refusal(here, STOLEN) is None
    assert "FileNotFoundError" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"password\n", b"8846F7EAEE8FB117AD06BDD830B7586C:3\r\n"], ids=range(3)
)
def test_a_file_of_another_kind_stops_the_start(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "stolen.txt"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="HOLDFAST_IDENTITY_BREACHED_FILE"):
        Options.load({"HOLDFAST_IDENTITY_BREACHED_FILE": str(file)})


class Range:
    """A service that answers by the beginning of a hash, and notes all that it was told."""

    def __init__(self, answer: str, status: int = 200, takes_s: float = 0) -> None:
        self.answer, self.status, self.takes_s = answer, status, takes_s
        self.told: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        told = [request.method, request.path_qs, *request.headers.values()]
        self.told.append("\n".join(told) + (await request.read()).decode())
        await asyncio.sleep(self.takes_s)
        return web.Response(text=self.answer, status=self.status)

    @asynccontextmanager
    async def asked_by(self, here: Identity) -> AsyncIterator[Identity]:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self.serve)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            options = Options(breached_range_url=f"http://{host}:{port}/range/")
            yield replace(here, options=options)
        finally:
            await runner.cleanup()


OTHERS = "0018A45C4D1DEF81644B54AB7F969B88D65:10\r\n00D4F6E8FA6EECAD2A3AA415EEC418D38EC:2\r\n"


@pytest.fixture
def services_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWERS_WITHIN", ClientTimeout(total=30))


@pytest.mark.usefixtures("services_may_be_slow")
async def test_a_range_that_holds_the_rest_refuses(here: Identity) -> None:
    service = Range(f"{OTHERS}{digest_of(STOLEN)[5:]}:30\r\n")
    async with service.asked_by(here) as asking:
        assert "stolen" in str(await refusal(asking, STOLEN))
        assert await refusal(asking, STOLEN + " nobody has") is None


@pytest.mark.usefixtures("services_may_be_slow")
async def test_padding_is_no_theft(here: Identity) -> None:
    async with Range(f"{OTHERS}{digest_of(STOLEN)[5:]}:0\r\n").asked_by(here) as asking:
        assert await refusal(asking, STOLEN) is None


@pytest.mark.usefixtures("services_may_be_slow")
async def test_only_five_digits_of_the_hash_leave_the_house(here: Identity) -> None:
    service = Range(OTHERS)
    async with service.asked_by(here) as asking:
        await refusal(asking, STOLEN)
    (told,) = service.told
    digest = digest_of(STOLEN)
    assert f"GET\n/range/{digest[:5]}\n" in told
    assert "true" in told.split("\n")  # Add-Padding
    for secret in (digest[:6], digest[5:], STOLEN, "ada", "analytical"):
        assert secret.lower() not in told.lower()


@pytest.mark.usefixtures("services_may_be_slow")
async def test_a_service_that_answers_nonsense_refuses_nobody(here: Identity) -> None:
    async with Range("nonsense\n:\n\x00").asked_by(here) as asking:
        assert await refusal(asking, STOLEN) is None


@pytest.mark.parametrize("fault", ["refuses", "is slow", "is away"])
async def test_a_service_that_fails_refuses_nobody_and_the_hash_is_not_logged(
    here: Identity, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    knows = f"{digest_of(STOLEN)[5:]}:30"
    service = Range(knows, 503 if fault == "refuses" else 200, 30 if fault == "is slow" else 0)
    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(service.asked_by(here))
        if fault == "is away":
            await stack.aclose()
        assert await refusal(asking, STOLEN) is None
    assert "was not looked for" in caplog.text
    assert digest_of(STOLEN)[:5] not in caplog.text
