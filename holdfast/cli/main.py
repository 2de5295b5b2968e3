"""The command line: `holdfast ...`, and the help that goes with it.

Each command says what it is for and leaves the work to its own module, imported only when it
runs, so that `--help` is quick. An app adds its commands by having a `commands.py` with a click
group named `group`. What goes wrong for a known reason is told in a sentence, not as a trace.
"""

import asyncio
import gc
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import click

from holdfast.core import manifest

# ruff: noqa: PLC0415 - commands import what they need when they run
# ruff: noqa: D301 - click wants a real backspace before what it must not wrap


class Holdfast(click.Group):
    """Its own commands, and one group for every app that has some."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        apps = (app.name for app in manifest.having("commands"))
        return [*super().list_commands(ctx), *apps]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in {app.name for app in manifest.having("commands")}:
            group: click.Command = manifest.find(cmd_name).module("commands").group
            return group
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
                raise
            if isinstance(error, import_module("holdfast.cli.expected").errors()):
                raise click.ClickException(str(error)) from None
            raise


@click.group(cls=Holdfast, epilog="Every command explains itself: holdfast COMMAND --help")
@click.version_option(package_name="holdfast")
def main() -> None:
    """Python backends that hold when everyone comes at once.

    \b
    Begin with:   holdfast up
    When stuck:   holdfast doctor
    """


@main.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--data", type=click.Path(path_type=Path), help="Keep everything in this folder.")
@click.option("--workers", type=click.IntRange(1, 256), help="Default: 1, 4 or 8 by profile.")
def up(port: int, data: Path | None, workers: int | None) -> None:
    """Start everything on this machine and show where to look.

    PostgreSQL and Valkey are started from Python packages, migrated and given demo accounts;
    then come workers on one port and the apps' background jobs. Ctrl-C stops all of it. Without
    --data it works in a temporary folder that is removed at the end.

    \b
    Example:      holdfast up --port 9000 --data ./data --workers 2
    Environment:  DATABASE_URL, REDIS_URL   use these servers instead of starting some
                  HOLDFAST_PROFILE          development, staging or production (no demo data)
                  HOLDFAST_SECRET           default: made once, kept in the data folder
                  HOLDFAST_LIMITS=off       no rate limits, for load tests of one's own
    Exit status:  0 stopped as asked, 1 could not start or a part kept dying (the reason and
                  the part's last lines are on stderr), 2 the command line is wrong.
    """
    from holdfast.cli import up as house

    house.up(port=port, data=data, workers=workers)


@main.command()
@click.argument("app")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, help="Default: 8000 for the gateway, the app's own otherwise.")
@click.option("--fd", type=int, help="Serve on this inherited listening socket instead.")
@click.option("--grpc-port", type=click.IntRange(1, 65_535), help="Answer gRPC here as well.")
@click.option("--metrics-port", type=int, help="Serve /metrics here, on 127.0.0.1.")
def serve(
    app: str,
    *,
    host: str,
    port: int | None,
    fd: int | None,
    grpc_port: int | None,
    metrics_port: int | None,
) -> None:
    """Serve one APP, or all of them with the home page: gateway. One process, one core.

    On SIGTERM it takes no new connections, finishes what it has begun, and ends. Migrate first.
    Several processes may have one --grpc-port. What is said there is in contracts/proto; it is not
    encrypted, and for other services only.

    \b
    Example:      holdfast serve identity --port 8001 --grpc-port 9101 --metrics-port 9001
    Environment:  DATABASE_URL, REDIS_URL   needed
                  HOLDFAST_PROFILE          sets the sizes of pools; default: development
                  HOLDFAST_SECRET           shared by all processes; production needs one
                  HOLDFAST_ORIGIN           the public address, as clients see it
                  HOLDFAST_DRAIN_S          seconds given to unfinished requests at the end
    Exit status:  0 stopped as asked, 1 could not start, 2 the command line is wrong.
    """
    gc.disable()  # until it runs: nothing that is imported is garbage, and to look costs a fifth
    from holdfast.cli import serving

    serving.serve_app(
        app, host=host, port=port, fd=fd, grpc_port=grpc_port, metrics_port=metrics_port
    )


@main.command()
@click.argument("app", required=False)
def migrate(app: str | None) -> None:
    """Bring the schema of APP, or of every app, up to date.

    Forward only, each file in one transaction, one process at a time: to run it twice, or on
    several machines at once, does no harm. The old code keeps working on the new schema.

    \b
    Example:      DATABASE_URL=postgresql://me@db/holdfast holdfast migrate
    Environment:  DATABASE_URL   a user with CREATE on the database and CREATEROLE
    Exit status:  0 up to date, 1 could not (nothing half-done is left), 2 the command line is wrong.
    """
    from holdfast.core.migrate import migrate as apply

    for each in [manifest.find(app)] if app else manifest.apps():
        applied = asyncio.run(apply(_database_url(), each))
        click.echo(f"{each.name}: {', '.join(applied) if applied else 'up to date'}")


@main.command()
@click.argument("app", required=False)
@click.option("--metrics-port", type=int, help="Serve /metrics here, on 127.0.0.1.")
def jobs(app: str | None, metrics_port: int | None) -> None:
    """Do the background work of APP, or of every app, until told to stop.

    Events on their way, partitions, clean-up, and what else an app has. Any number may run at
    once. Without one nothing is lost, but it waits.

    \b
    Example:      holdfast jobs --metrics-port 9101
                  holdfast jobs identity --metrics-port 9102
    Environment:  as for holdfast serve
    Exit status:  0 stopped as asked, 1 could not work, 2 the command line is wrong.
    """
    gc.disable()  # until it runs: nothing that is imported is garbage, and to look costs a fifth
    from holdfast.cli import serving

    serving.do_jobs(app, metrics_port=metrics_port)


def _an_origin(_ctx: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url and not re.fullmatch("https?://[^/]+/?", url):
        raise click.BadParameter("Write it as http://host:port")
    return url


@main.group()
def deals() -> None:
    """Sales in which everyone comes at the same moment."""


@deals.command()
@click.option("--buyers", default=1000, show_default=True, type=click.IntRange(1, 20_000))
@click.option("--stock", default=100, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--url", callback=_an_origin, help="Hold it there, not in a house of its own.")
@click.option("--admin-email", help="Who holds the sale; default: the demo admin.")
@click.option("--admin-password", envvar="HOLDFAST_ADMIN_PASSWORD", help="Better in a variable.")
def rush(
    buyers: int, stock: int, url: str | None, admin_email: str | None, admin_password: str | None
) -> None:
    """Let all buyers order the same thing at once, and prove that the sale was just.

    The services are real, and used by their public API alone: accounts are opened, a deal is made
    for one unit each, and when it opens everybody orders. Then the list of winners and the ledger
    must agree with what each buyer was told. Without --url, a house is started for it and removed.
    Signing up takes longer than the sale: about 40 ms of computing for each buyer.

    \b
    Example:      holdfast deals rush --buyers 2000 --stock 50
    Environment:  HOLDFAST_ADMIN_PASSWORD   with --admin-email
    Output:       progress on stderr, the proof as the last line on stdout; times count from the
                  opening, and a buyer who waits for one of 256 sockets waits
    Exit status:  0 the proof holds, 1 it does not, or the sale could not be held, 2 the command
                  line is wrong.
    """
    from holdfast.cli.deals import rush as sale

    sys.exit(sale.rush(sale.Plan(buyers, stock, url, admin_email, admin_password)))


@main.group()
def gateway() -> None:
    """The front door: one table of what is let in, whose work it is, and on which terms."""


@gateway.command()
@click.argument("kind", type=click.Choice(["envoy", "kong"]))
@click.option("--table", type=click.Path(path_type=Path), help="Default: the house's own.")
@click.option("--profile", help="Whose limits; default: HOLDFAST_PROFILE, or development.")
@click.option("--listen", default=10_000, show_default=True, type=click.IntRange(1, 65_535))
def render(kind: str, table: Path | None, profile: str | None, listen: int) -> None:
    """Print the table as a configuration of Envoy or of Kong.

    What each of them cannot do as the table means it is said at the head of its configuration.
    Identity must sign by an algorithm that they know: HOLDFAST_IDENTITY_TOKEN_ALG=RS256.

    \b
    Example:      holdfast gateway render envoy --profile production > envoy.yaml
    Environment:  HOLDFAST_GATEWAY_UPSTREAMS      where the services are: name=http://host:port,...
                                                  default: where holdfast serve puts them
                  HOLDFAST_GATEWAY_TABLE          as --table
                  HOLDFAST_GATEWAY_CORS_ORIGINS   whose pages may use the API
                  HOLDFAST_ORIGIN                 the public address, and who issues tokens
                  HOLDFAST_IDENTITY_URL           where its keys are, if not at the origin
                  HOLDFAST_IDENTITY_AUDIENCE, HOLDFAST_TRUSTED_PROXIES, HOLDFAST_LIMITS
    Exit status:  0 printed, 1 the table or a setting is wrong, 2 the command line is wrong.
    """
    from holdfast.cli import rendering

    click.echo(rendering.render(kind, table, profile, listen), nl=False)


@main.command()
@click.option("--port", default=8000, show_default=True, help="The port that you want to use.")
def doctor(port: int) -> None:
    """Look for what is wrong with this machine or its configuration, and say what to do.

    Starts PostgreSQL and Valkey for a moment in a temporary folder; where DATABASE_URL or
    REDIS_URL names one, looks at that instead: reachable, recent enough, the needed rights.
    Changes nothing.

    \b
    Example:      DATABASE_URL=postgresql://me@db/holdfast holdfast doctor
    Exit status:  0 nothing in the way (warnings included), 1 something failed.
    """
    from holdfast.cli.doctor import examine

    sys.exit(examine(port))


def _database_url() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise click.ClickException(
            "DATABASE_URL is not set. Example: postgresql://user:password@host/database"
        )
    return url


if __name__ == "__main__":
    main(prog_name="holdfast")
