"""What the supervisor and the workers tell, and what the home page makes of it."""

import msgspec


class Process(msgspec.Struct):
    name: str
    kind: str
    state: str
    pid: int | None = None
    port: int | None = None
    metrics_port: int | None = None
    since: str | None = None
    restarts: int = 0


class Run(msgspec.Struct):
    """The supervisor's run file, or the little that a process knows without one."""

    started_at: str
    url: str
    version: str
    processes: list[Process]
    data: str | None = None
    supervised: bool = True


class Buckets(msgspec.Struct, frozen=True):
    """`counts[i]` requests took at most `le_ms[i]`; one more count is for all slower ones."""

    le_ms: list[float]
    counts: list[int]


class WorkerRoute(msgspec.Struct):
    method: str
    route: str
    requests: int
    errors: int
    buckets: Buckets = Buckets([], [])


class WorkerFigures(msgspec.Struct):
    """What one worker has counted since it started."""

    requests: int
    errors: int
    in_flight: int
    loop_lag_ms: float
    routes: list[WorkerRoute]


class RouteFigures(msgspec.Struct):
    """A route on all workers; without a single observation it has no percentiles."""

    method: str
    route: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Figures(msgspec.Struct):
    """The same for all workers that answered, with the processes beside them."""

    requests: int
    errors: int
    in_flight: int
    loop_lag_ms: float
    routes: list[RouteFigures]
    buckets: Buckets
    answering: list[str]
    silent: list[str]
    processes: list[Process]
