"""`coordinator serve`: a coordinator against given servers."""

import signal

import anyio
import click

from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.serving import default_name, running_coordinator, until_signalled
from coordinator.settings import Settings
from protocol.exits import Exit
from protocol.running import run_async


@click.command("serve", cls=Verb)
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the API, health and metrics.")
@pass_invocation
def command(invocation: Invocation, port: int | None) -> Exit:
    """Run a coordinator until SIGTERM. Start as many as you like: runs spread over them.

    A coordinator that dies costs its runs at most the lease time (liveness.lease_seconds).
    """
    return run_async(serve, invocation, prepare(invocation).settings, port)


async def serve(invocation: Invocation, settings: Settings, port: int | None) -> Exit:
    async with running_coordinator(settings, port=port) as used:
        if invocation.json:
            emit_json({"name": default_name(), "http_port": used})
        else:
            message(f"coordinator {default_name()} serves; health and metrics on port {used}")
        number = await until_signalled()
    await anyio.lowlevel.checkpoint()
    return Exit.INTERRUPTED if number == signal.SIGINT else Exit.OK
