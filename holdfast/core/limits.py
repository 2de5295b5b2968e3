"""Rate limits: GCRA counted in the worker and agreed with the others through Redis.

A limit such as `10/min ip` lets ten through at once and then one every six seconds, for each
bucket (an address, a user, everyone). `admit` decides with Redis, in one call for all limits of a
request: exact over every worker, for what must be exact (signing in). `admit_here` decides in the
worker and tells Redis afterwards, many requests in one call, a few times a second: no I/O for the
request, and at most that fraction of a second too generous. Without Redis both count per worker.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from math import ceil
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from holdfast.core.errors import ProblemError
from holdfast.core.merge import Merge
from holdfast.core.redis import is_cancelled

PERIODS_S = {"s": 1, "min": 60, "h": 3600}
AGREE_EVERY_S = 0.2
LEAVE_REDIS_ALONE_S = 1.0
ROUNDING_US = 1.0
BUCKETS_IN_MEMORY = 100_000
log = logging.getLogger(__name__)

# KEYS: buckets. ARGV: forced, then for each bucket interval, burst, cost (microseconds, count).
# Answers, for each bucket, its theoretical arrival time after (or, refused, before) the call, less
# now; and first whether the request was let in. All buckets are charged, or none.
GCRA = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tats, admitted = {}, 1
for i, key in ipairs(KEYS) do
  local interval, burst, cost = ARGV[3*i-1], ARGV[3*i], ARGV[3*i+1]
  local tat = math.max(tonumber(redis.call('GET', key) or now), now)
  tats[i] = {tat, tat + cost * interval}
  if tats[i][2] - now > interval * burst then admitted = 0 end
end
local answer = {admitted}
for i, key in ipairs(KEYS) do
  local tat = tats[i][1]
  if admitted == 1 or ARGV[1] == '1' then
    tat = tats[i][2]
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
  end
  answer[i + 1] = tat - now
end
return answer
"""


class TooManyRequestsError(ProblemError):
    status: ClassVar[HTTPStatus] = HTTPStatus.TOO_MANY_REQUESTS
    sentence = "Too many requests. Wait as long as `Retry-After` says."


@dataclass(frozen=True, slots=True)
class Limit:
    """How many in a period, and for whom each bucket is counted: `ip`, `user`, or `all`."""

    name: str
    count: int
    period_s: int
    scope: str

    @classmethod
    def parse(cls, name: str, text: str) -> "Limit":
        match = re.fullmatch(r"(\d+)/(s|min|h) (ip|user|all)", text)
        if match is None or match[1] == "0":
            raise ValueError(f"{name} = {text!r}: write a limit like '10/min ip'")
        return cls(name, int(match[1]), PERIODS_S[match[2]], match[3])

    @property
    def interval_us(self) -> float:
        return self.period_s * 1e6 / self.count


class Spend:
    """One request's claim on one bucket. It may be kept, and made again and again."""

    __slots__ = ("bucket", "limit")

    def __init__(self, limit: Limit, who: str) -> None:
        self.limit = limit
        self.bucket = f"limit:{limit.name}:{who}"


class Bucket:
    """What this worker knows of one."""

    __slots__ = ("count", "interval_us", "name", "room_us", "tat_us", "untold")

    def __init__(self, spend: Spend) -> None:
        self.name = spend.bucket
        self.count = spend.limit.count
        self.interval_us = spend.limit.interval_us
        self.room_us = self.interval_us * (self.count - 1) + ROUNDING_US
        self.tat_us = 0.0  # the theoretical arrival time
        self.untold = 0  # how many were let in since Redis was told


class Limits:
    """All limits of a worker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._decide = Merge(self._decide_together, name="limits")
        self._redis_away_until = 0.0
        self._buckets: dict[str, Bucket] = {}
        self._untold: list[Bucket] = []

    async def admit(self, *spends: Spend) -> None:
        """Let the request in, by the count of all workers, or refuse it."""
        ahead_us = await self._decide(spends) if time.monotonic() > self._redis_away_until else None
        if ahead_us is None:
            self.admit_here(*spends)
        elif not ahead_us[0]:
            raise _refusal(spends, ahead_us[1:])

    def admit_here(self, *spends: Spend) -> None:
        """Let the request in, by this worker's count and what the others said, or refuse it."""
        now_us = time.monotonic() * 1e6
        buckets = self._buckets
        for spend in spends:
            bucket = buckets.get(spend.bucket)
            if bucket is not None and bucket.tat_us > now_us + bucket.room_us:
                raise _refusal(spends, [self._ahead_us(spend, now_us) for spend in spends])
        for spend in spends:
            bucket = buckets.get(spend.bucket)
            if bucket is None:
                bucket = buckets[spend.bucket] = Bucket(spend)
            bucket.tat_us = max(bucket.tat_us, now_us) + bucket.interval_us
            if not bucket.untold:
                self._untold.append(bucket)
            bucket.untold += 1

    def _ahead_us(self, spend: Spend, now_us: float) -> float:
        bucket = self._buckets.get(spend.bucket)
        return max(bucket.tat_us - now_us, 0.0) if bucket else 0.0

    async def agree_for_ever(self) -> None:
        """Tell Redis what this worker let in, and take over what all workers did."""
        while not is_cancelled():
            await asyncio.sleep(AGREE_EVERY_S)
            if self._untold and time.monotonic() > self._redis_away_until:
                await self._agree()
            if len(self._buckets) > BUCKETS_IN_MEMORY:
                now_us = time.monotonic() * 1e6
                self._buckets = {
                    name: bucket for name, bucket in self._buckets.items() if bucket.tat_us > now_us
                }

    async def _agree(self) -> None:
        told, self._untold = self._untold, []
        now_us = time.monotonic() * 1e6
        calls = []
        for bucket in told:
            calls.append(([bucket.name], [1, bucket.interval_us, bucket.count, bucket.untold]))
            bucket.untold = 0
        try:
            answers = await self._ask_redis(calls)
        except (RedisError, OSError) as error:
            self._leave_redis_alone(error)
            return
        for bucket, (_, ahead_us) in zip(told, answers, strict=True):
            bucket.tat_us = now_us + ahead_us + bucket.untold * bucket.interval_us

    async def _decide_together(
        self, requests: list[Sequence[Spend]]
    ) -> Sequence[list[float] | None]:
        calls: list[tuple[list[str], list[float]]] = []
        for spends in requests:
            numbers = [n for s in spends for n in (s.limit.interval_us, s.limit.count, 1)]
            calls.append(([s.bucket for s in spends], [0, *numbers]))
        try:
            return await self._ask_redis(calls)
        except (RedisError, OSError) as error:
            self._leave_redis_alone(error)
            return [None] * len(requests)

    async def _ask_redis(self, calls: list[tuple[list[str], list[float]]]) -> list[list[float]]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for keys, args in calls:  # not by the script's hash, which costs a question each time
                _ = pipeline.eval(GCRA, len(keys), *keys, *args)
            return list(await pipeline.execute())

    def _leave_redis_alone(self, error: Exception) -> None:
        self._redis_away_until = time.monotonic() + LEAVE_REDIS_ALONE_S
        log.warning("Limits are counted per worker for now: %r", error)


def bucket_address(address: str) -> str:
    """Whose bucket an address is: one IPv6 subscriber has a /64, not an address."""
    ip = _plain(address)
    return str(IPv6Network((ip, 64), strict=False) if isinstance(ip, IPv6Address) else ip)


def _plain(address: str) -> IPv4Address | IPv6Address:
    """An IPv4 address that reached us through an IPv6 socket is still an IPv4 address."""
    ip = ip_address(address)
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def client_address(
    peer: str, forwarded: Iterable[str], trusted: Sequence[IPv4Network | IPv6Network]
) -> str:
    """The nearest address that is not a proxy of ours; what a stranger forwards is not believed."""
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    for hop in (peer, *reversed(hops)):
        try:
            ours = is_within(hop, trusted)
        except ValueError:
            return peer
        if not ours:
            return hop
        peer = hop
    return peer


def is_within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    ip = _plain(address)
    return any(ip in network for network in networks)


def _refusal(spends: Sequence[Spend], ahead_us: Sequence[float]) -> TooManyRequestsError:
    """Says when the bucket that is fullest has room again."""

    def wait_us(i: int) -> float:
        return ahead_us[i] - spends[i].limit.interval_us * (spends[i].limit.count - 1)

    fullest = max(range(len(spends)), key=wait_us)
    return TooManyRequestsError(
        headers={
            "Retry-After": str(max(1, ceil(wait_us(fullest) / 1e6))),
            "RateLimit-Limit": str(spends[fullest].limit.count),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(ceil(ahead_us[fullest] / 1e6)),
        }
    )
