"""`coordinator resume`: a paused run goes on."""

import click

from coordinator.commands.pause import ask
from coordinator.invocation import Invocation, Verb, pass_invocation
from protocol.messages import PauseRequest
from protocol.running import run_async


@click.command("resume", cls=Verb)
@click.argument("run")
@pass_invocation
def command(invocation: Invocation, run: str) -> None:
    """Let a paused RUN go on. A run that was killed goes on by itself; so does `coordinator run --resume`."""
    run_async(ask, invocation, run, PauseRequest(paused=False))
