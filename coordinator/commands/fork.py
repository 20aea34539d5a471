"""`coordinator fork`: a run that shares the history of another up to a point."""

from typing import Any

import click

from coordinator.commands.parting import override_options, point_of, request_of, run_verb
from coordinator.invocation import Invocation, Verb, pass_invocation
from protocol.running import run_async


@click.command("fork", cls=Verb)
@click.argument("run")
@click.option("--at", required=True, metavar="TASK[:STEP]", help="Where the runs part: before this.")
@override_options
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    at: str,
    identity: str | None,
    **overrides: Any,  # noqa: ANN401 - as click gives them
) -> None:
    """Begin a run that shares the history of a RUN up to a task, or to a step of its journal.

    What is shared costs nothing and is as it was; what comes after is made anew, with what is changed. The
    RUN itself is not touched. Prints the id of the new run.
    """
    request = request_of(identity, **overrides)
    run_async(run_verb, invocation, run, "fork", point_of(at), request)
