"""A browser as far as the server sees one: its cookies, its language, and where its forms come from."""

import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

from holdfast.apps.identity.tests.api import PASSWORD, Api


@dataclass(frozen=True)
class Shown:
    status: int
    text: str
    goes_to: str
    headers: dict[str, str]

    def tells(self, sentence: str) -> bool:
        return sentence in unescape(self.text)

    @property
    def secret(self) -> str:
        """What the page shows once, to be copied."""
        found = re.search(r"<pre[^>]*>(.*?)</pre>", self.text, re.DOTALL)
        assert found, self.text
        return unescape(found[1])

    def query(self, name: str) -> str:
        """From the address that it goes to."""
        return parse_qs(urlsplit(self.goes_to).query)[name][0]


@dataclass
class Browser:
    api: Api
    origin: str
    language: str = "en"
    device: str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, *, host: str | None = None, **query: str) -> Shown:
        asked = f"{path}?{urlencode(query)}" if query else path
        return await self._ask("GET", asked, {}, {"Host": host} if host else {})

    async def send(self, path: str, *, origin: str | None = None, **fields: str) -> Shown:
        return await self._ask("POST", path, fields, {"Origin": origin or self.origin})

    async def sign_in(self, email: str, password: str = PASSWORD) -> "Browser":
        shown = await self.send("/sign-in", email=email, password=password)
        assert shown.status == 303, shown.text
        return self

    async def _ask(
        self, method: str, path: str, fields: dict[str, str], headers: dict[str, str]
    ) -> Shown:
        usual = {
            "Host": urlsplit(self.origin).netloc,
            "Accept-Language": self.language,
            "User-Agent": self.device,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        async with self.api.http.request(
            method,
            self.api.url + path,
            data=fields or None,
            headers=usual | headers,
            allow_redirects=False,
        ) as answer:
            for name, cookie in answer.cookies.items():
                self.cookies[name] = cookie.value
                if not cookie.value:
                    del self.cookies[name]
            text = await answer.text()
            goes_to = answer.headers.get("Location", "")
            return Shown(answer.status, text, goes_to, dict(answer.headers))
