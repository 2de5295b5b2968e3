"""Settings: what differs between one running process and the next, refused at start when wrong.

A profile (development, staging, production) gives every value a default that is right for it;
an environment variable overrides one value. A wrong value stops the process at once with the
variable's name and what would be right. An app adds its own by subclassing `Environment`.
Nothing is read from files, and nothing changes while the process runs.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Profile = Literal["development", "staging", "production"]

PROFILES: dict[Profile, dict[str, Any]] = {
    "development": {"db_pool_min": 3, "db_pool_max": 10, "redis_pool": 10, "workers": 1},
    "staging": {"db_pool_min": 10, "db_pool_max": 50, "redis_pool": 30, "workers": 4},
    "production": {"db_pool_min": 20, "db_pool_max": 100, "redis_pool": 50, "workers": 8},
}
KAFKA = re.compile(r"kafka://[\w.-]+:\d{1,5}(,[\w.-]+:\d{1,5})*")
LAST_PORT = 65_535


class SettingsError(Exception):
    """The environment holds a value that this process must not start with."""


def comma_separated(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _kafka_address(value: str) -> str:
    ports = re.findall(r":(\d+)", value)
    if not KAFKA.fullmatch(value) or not all(0 < int(port) <= LAST_PORT for port in ports):
        raise ValueError("Say where Kafka is: kafka://host:9092, or kafka://one:9092,two:9092")
    return value


class Environment(BaseModel):
    """Reads its own fields from variables named prefix + FIELD, or from the field's alias."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    prefix: ClassVar[str] = "HOLDFAST_"

    @classmethod
    def load(cls, environ: Mapping[str, str], **defaults: Any) -> Self:
        names = {
            field: info.alias or cls.prefix + field.upper()
            for field, info in cls.model_fields.items()
        }
        given = {field: environ[name] for field, name in names.items() if environ.get(name)}
        try:
            return cls.model_validate(defaults | given)
        except ValidationError as error:
            raise SettingsError(_sentences(error, names, environ)) from None


def _sentences(error: ValidationError, names: dict[str, str], environ: Mapping[str, str]) -> str:
    def sentence(problem: Any) -> str:
        text: str = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            return text
        field = str(problem["loc"][0])
        name = names.get(field, field)
        if problem["type"] == "missing":
            return f"{name} is not set. {HELP.get(name, '')}".strip()
        if name not in environ or name.endswith(MAY_END_A_SECRET):
            return f"{name}: {text}"
        return f"{name}={environ[name]}: {text}"

    return "\n".join(sentence(problem) for problem in error.errors())


MAY_END_A_SECRET = ("_SECRET", "_KEY", "_URL")  # an address may hold a password
HELP = {
    "DATABASE_URL": "Say where PostgreSQL is: postgresql://user:password@host:5432/database",
    "REDIS_URL": "Say where Redis or Valkey is: redis://:password@host:6379/0",
    "HOLDFAST_SECRET": "All processes share one, and it outlives them: openssl rand -base64 48",
}


class PublicSettings(Environment):
    """How the house is seen from outside, and whom it believes. No server is needed to know it."""

    profile: Profile = "development"
    origin: str = Field("http://localhost:8000", pattern="^https?://[^/]+$")
    identity_url: str | None = Field(None, pattern="^https?://[^/]+$")  # where it is not the origin
    identity_grpc: str | None = Field(
        None, pattern=r"^grpc://[^/]+:\d+$"
    )  # asked there who may what
    audience: str = Field("holdfast", alias="HOLDFAST_IDENTITY_AUDIENCE")
    limits: Literal["on", "off"] = "on"
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...], BeforeValidator(comma_separated)
    ] = ()

    @model_validator(mode="after")
    def _refuse_what_production_forbids(self) -> Self:
        if self.profile == "production":
            if self.limits == "off":
                raise ValueError("HOLDFAST_LIMITS=off is for load tests; production refuses it")
            if not self.origin.startswith("https://"):
                raise ValueError("HOLDFAST_ORIGIN must begin with https:// in production")
        return self


class Settings(PublicSettings):
    """What every process needs, whichever app it serves."""

    database_url: str = Field(alias="DATABASE_URL", pattern="^postgres(ql)?://")
    replica_url: str | None = Field(None, alias="DATABASE_REPLICA_URL", pattern="^postgres(ql)?://")
    redis_url: str = Field(alias="REDIS_URL", pattern="^(rediss?|unix)://")
    events_url: Annotated[str, AfterValidator(_kafka_address)] | None = None  # else to Redis
    secret: str = Field(min_length=32)
    db_pool_min: int = Field(ge=0)
    db_pool_max: int = Field(ge=1, le=1000)
    redis_pool: int = Field(ge=1, le=1000)
    workers: int = Field(ge=1, le=256)
    drain_s: float = Field(10, ge=0, le=300)
    lease_s: float = Field(1, ge=0.2, le=30)

    @classmethod
    def load(cls, environ: Mapping[str, str], **defaults: Any) -> Self:
        profile: Any = environ.get("HOLDFAST_PROFILE", "development")
        usual = PROFILES.get(profile, PROFILES["development"])
        return super().load(environ, **(usual | defaults))

    @model_validator(mode="after")
    def _refuse_pools_that_cannot_be(self) -> Self:
        if self.db_pool_min > self.db_pool_max:
            raise ValueError("HOLDFAST_DB_POOL_MIN is larger than HOLDFAST_DB_POOL_MAX")
        return self
