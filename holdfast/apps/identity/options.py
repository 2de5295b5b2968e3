"""Identity's own settings, read from `HOLDFAST_IDENTITY_...`."""

import os
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, FilePath, model_validator

from holdfast.core.settings import Environment, Settings, SettingsError


def _with_hashes(file: Path) -> Path:
    """Refuse at the start what would be searched in vain ever after."""
    with file.open("rb") as opened:
        if not re.match(rb"[0-9A-Fa-f]{40}:\d+\r?\n", opened.readline(100)):
            raise ValueError("its first line is not SHA1:COUNT; sort the file by its hashes")
    return file


Address = Annotated[str, Field(pattern="^https?://.*[^/]$")]


def _an_address(text: str) -> str:
    if not parseaddr(text)[1].rpartition("@")[0] or not text.isprintable():
        raise ValueError(
            "write an address: no-reply@example.com, or Example <no-reply@example.com>"
        )
    return text


class Options(Environment):
    prefix: ClassVar[str] = "HOLDFAST_IDENTITY_"

    audience: str = "holdfast"
    client_id: str = "holdfast"
    token_alg: Literal["Ed25519", "RS256"] = "Ed25519"  # noqa: S105 - an algorithm
    access_ttl_s: int = Field(900, ge=10, le=86_400)
    refresh_ttl_s: int = Field(30 * 86_400, ge=60, le=35 * 86_400)
    refresh_grace_s: float = Field(10, ge=0, le=120)
    hash_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=64)
    hash_deadline_s: float = Field(2, gt=0, le=30)
    breached_file: Annotated[FilePath, AfterValidator(_with_hashes)] | None = None
    breached_range_url: str | None = Field(None, pattern="^https?://.+/$")
    smtp_url: str | None = Field(
        None,
        pattern=r"^smtps?://([^\s:@/]+:[^\s:@/]+@)?([^\s:@/]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?/?$",
    )
    mail_from: Annotated[str, AfterValidator(_an_address)] | None = None
    google_client_id: str | None = None
    google_client_secret: str | None = None
    google_url: Address | None = None
    github_client_id: str | None = None
    github_client_secret: str | None = None
    github_url: Address | None = None
    kakao_client_id: str | None = None
    kakao_client_secret: str | None = None
    kakao_url: Address | None = None
    kakao_admin_key: str | None = None

    @model_validator(mode="after")
    def _refuse_half_a_provider(self) -> Self:
        for name in ("google", "github", "kakao"):
            told = getattr(self, f"{name}_client_id"), getattr(self, f"{name}_client_secret")
            if any(told) and not all(told):
                names = f"{self.prefix}{name.upper()}_CLIENT_ID and ..._SECRET"
                raise ValueError(f"{names}: set both, or neither")
        return self

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read from the environment; refuses what the profile must not start with."""
        options = cls.load(os.environ)
        if settings.profile == "production" and options.smtp_url is None:
            raise SettingsError(
                "HOLDFAST_IDENTITY_SMTP_URL is not set. Production sends mails: say by which server,"
                " smtp://user:password@host:587 or smtps://user:password@host:465"
            )
        return options
