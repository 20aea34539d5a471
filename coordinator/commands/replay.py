"""`coordinator replay`: a run once more against its journals."""

from typing import Any

import click

from coordinator.commands.parting import override_options, request_of, run_verb
from coordinator.invocation import Invocation, Verb, pass_invocation
from protocol.running import run_async


@click.command("replay", cls=Verb)
@click.argument("run")
@click.argument("task", required=False)
@override_options
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    task: str | None,
    identity: str | None,
    **overrides: Any,  # noqa: ANN401 - as click gives them
) -> None:
    """Run a RUN once more, from its beginning or from a TASK on, in a new run.

    Recorded steps are replayed as long as the same is asked; from the first difference on, they are made
    anew. Prints the id of the new run; `coordinator compare` sets both side by side.
    """
    request = request_of(identity, **overrides)
    run_async(run_verb, invocation, run, "replay", (task, None), request)
