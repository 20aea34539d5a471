"""`coordinator pause`: nothing new begins in a run."""

import click

from coordinator.commands.acting import check_reason, operating
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from protocol.messages import PauseRequest
from protocol.running import run_async


@click.command("pause", cls=Verb)
@click.argument("run")
@click.option("--reason", metavar="TEXT", help="Why; it is recorded.")
@pass_invocation
def command(invocation: Invocation, run: str, reason: str | None) -> None:
    """Pause a RUN: nothing new begins, and what runs may finish. `coordinator resume` lets it go on.

    Answers are taken meanwhile; the deadline and the timeouts of waits do not stand still.
    """
    check_reason(reason)
    request = PauseRequest() if reason is None else PauseRequest(reason=reason)
    run_async(ask, invocation, run, request)


async def ask(invocation: Invocation, prefix: str, request: PauseRequest) -> None:
    """Pauses a run or lets it go on, and says what became of that."""
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        verdict = (await operator.pause(run, request)).verdict
    if invocation.json:
        emit_json({"run": run, "paused": request.paused and verdict != "ended", "verdict": verdict})
    elif verdict == "ended":
        message(f"run {run} has ended, or is being cancelled")
    elif verdict == "unchanged":
        message(f"run {run} is {'paused already' if request.paused else 'not paused'}")
    elif request.paused:
        message(f"run {run} is paused: what runs may finish, and nothing new begins")
    else:
        message(f"run {run} goes on")
