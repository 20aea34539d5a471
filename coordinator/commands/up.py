"""`coordinator up`: servers, a coordinator and workers on this machine, until told to stop."""

import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import click

from coordinator.commands.asking import MODEL_KEY
from coordinator.commands.shared import prepare
from coordinator.crew import crew
from coordinator.embedded.servers import embedded_servers
from coordinator.embedded.supervisor import ServerEvent, Timing
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.research import AGENTS_MODULE
from coordinator.serving import running_coordinator, until_signalled
from coordinator.settings import Settings, load, wants_embedded
from protocol.exits import Exit
from protocol.running import run_async
from protocol.settings import Loaded


@click.command("up", cls=Verb)
@click.option(
    "--workers", type=click.IntRange(0, 256), default=2, show_default=True, help="Worker processes."
)
@click.option(
    "--agents", multiple=True, metavar="WHAT", help="Agents that they offer; by default those of research."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=4, show_default=True, help="Tasks per worker."
)
@pass_invocation
def command(invocation: Invocation, workers: int, agents: tuple[str, ...], concurrency: int) -> Exit:
    """Start servers, a coordinator and workers on this machine; Ctrl-C or SIGTERM stops them all.

    The data folder survives, and with it every run. Other verbs find the servers by the same --data.
    """
    prepare(invocation)
    return run_async(_up, invocation, workers, agents, concurrency)


async def _up(invocation: Invocation, workers: int, agents: tuple[str, ...], concurrency: int) -> Exit:
    async with swarm_here(invocation, workers=workers, agents=agents, concurrency=concurrency) as (
        settings,
        port,
    ):
        if invocation.json:
            emit_json({"data": str(settings.data_folder), "http_port": port, "workers": workers})
        else:
            message(
                f"up: data in {settings.data_folder}, {workers} worker{'s' * (workers != 1)}, "
                f"health and metrics on port {port}"
            )
        number = await until_signalled()
        message("stopping: workers finish what they hold")
    return Exit.INTERRUPTED if number == signal.SIGINT else Exit.OK


@asynccontextmanager
async def swarm_here(
    invocation: Invocation,
    *,
    workers: int,
    agents: tuple[str, ...] = (),
    concurrency: int = 4,
    any_port: bool = False,
) -> AsyncGenerator[tuple[Settings, int]]:
    """Servers (embedded, unless others are named), a coordinator in this process, and workers as children.

    Yields the settings that lead to the servers, and the coordinator's HTTP port: `any_port` takes a
    free one unless the settings name one.

    :raises OperatorError: when servers or workers do not start.
    """
    loaded = load(invocation.flags)
    settings = loaded.settings
    arguments = [part for name in agents or (AGENTS_MODULE,) for part in ("--agents", name)]
    arguments += ["--concurrency", str(concurrency)]
    async with AsyncExitStack() as stack:
        environ: dict[str, str] = {}
        if key := settings.model.api_key.get_secret_value():
            environ[MODEL_KEY] = key
        if wants_embedded(loaded):
            timing = Timing(settings.embedded.start_seconds, settings.embedded.stop_seconds)
            instance = await stack.enter_async_context(
                embedded_servers(
                    settings.data_folder, durable=settings.embedded.durable, timing=timing, report=_report
                )
            )
            settings = load(invocation.flags, connection=instance.connection).settings
            environ |= instance.worker_environment()
        port = await stack.enter_async_context(
            running_coordinator(settings, port=_port(loaded, any_port=any_port))
        )
        logs = settings.data_folder / "workers"
        await stack.enter_async_context(crew(workers, arguments, folder=logs, environ=environ))
        yield settings, port


def _port(loaded: Loaded[Settings], *, any_port: bool) -> int | None:
    """That of the settings (None); any free one where nobody chose it, and it is taken or not needed."""
    if loaded.given("http.port"):
        return None
    return 0 if any_port or not _free(loaded.settings.http.host, loaded.settings.http.port) else None


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _report(event: ServerEvent) -> None:
    message(f"{event.server} {event.what}: {event.detail}")
