from holdfast.cli.servers import free_port
from holdfast.gateway.tests.conftest import Door


async def test_show_home_lists_what_runs(door: Door) -> None:
    door.supervise({"name": "postgres", "kind": "server", "port": 54321}, {"name": "worker-1"})
    page = await door.text("/")
    assert "Everything is running." in page
    for expected in ("postgres", "54321", "worker-1", "Identity", "/docs/identity", door.url):
        assert expected in page


async def test_show_home_says_what_does_not_run(door: Door) -> None:
    door.supervise({"name": "postgres", "state": "restarting"}, {"name": "worker-1"})
    page = await door.text("/")
    assert ">Not running: postgres</h1>" in page


async def test_show_home_without_a_supervisor_shows_this_process(door: Door) -> None:
    page = await door.text("/")
    assert "This process serves alone." in page
    assert 'id="live"' not in page


async def test_show_home_speaks_the_language_of_its_reader(door: Door) -> None:
    door.supervise({"name": "worker-1"})
    korean = await door.text("/", **{"Accept-Language": "fr, ko-KR;q=0.8, en;q=0.5"})
    assert '<html lang="ko">' in korean
    assert "모두 정상 작동 중입니다." in korean
    english = await door.text("/?lang=en", **{"Accept-Language": "ko"})
    assert '<html lang="en">' in english
    remembered = await door.text("/", **{"Accept-Language": "ko"})
    assert '<html lang="en">' in remembered


async def test_show_home_allows_no_foreign_and_no_inline_script(door: Door) -> None:
    async with door.client.get("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = await answer.text()
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "<style" not in page
    assert " style=" not in page


async def test_show_figures_adds_up_the_workers(door: Door) -> None:
    """Two names for one worker count twice; a port where nobody listens is told as silent."""
    here = {"metrics_port": door.metrics_port}
    door.supervise(
        {"name": "a", **here}, {"name": "b", **here}, {"name": "c", "metrics_port": free_port()}
    )
    await door.text("/")
    figures = await door.figures()
    (home,) = [route for route in figures["routes"] if route["route"] == "/"]
    assert home["method"] == "GET"
    assert home["requests"] == 2
    assert figures["answering"] == ["a", "b"]
    assert figures["silent"] == ["c"]


async def test_show_figures_leaves_out_what_serves_nobody(door: Door) -> None:
    """Background jobs have a metrics port, too, but answer no requests."""
    door.supervise(
        {"name": "a", "metrics_port": door.metrics_port},
        {"name": "identity-jobs", "kind": "jobs", "metrics_port": free_port()},
    )
    figures = await door.figures()
    assert (figures["answering"], figures["silent"]) == (["a"], [])


async def test_show_figures_tells_percentiles_of_all_workers(door: Door) -> None:
    door.supervise({"name": "a", "metrics_port": door.metrics_port})
    await door.text("/")
    figures = await door.figures()
    assert sum(figures["buckets"]["counts"]) == figures["requests"]
    (home,) = [route for route in figures["routes"] if route["route"] == "/"]
    assert 0 < home["p50_ms"] <= home["p95_ms"] <= home["p99_ms"]
