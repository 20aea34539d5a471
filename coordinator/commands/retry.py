"""`coordinator retry`: tasks that ended without a result begin again."""

from collections.abc import Sequence

import click

from coordinator.commands.acting import check_reason, operating
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import LATEST
from protocol.errors import InvalidSettings
from protocol.exits import Exit
from protocol.messages import RetryReply, RetryRequest
from protocol.running import run_async


@click.command("retry", cls=Verb)
@click.argument("run", default=LATEST)
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--dead", is_flag=True, help="All dead letters of the run.")
@click.option("--reason", metavar="TEXT", help="Why; it is recorded.")
@pass_invocation
def command(invocation: Invocation, run: str, tasks: tuple[str, ...], dead: bool, reason: str | None) -> Exit:
    """Begin TASKs of a RUN again that are dead, failed or cancelled, or all that are --dead.

    A task keeps its id and its journal: what is recorded there is not done again. A run that has ended goes
    on with it. Exit code 1 when none of them begins again.
    """
    check_reason(reason)
    if dead == bool(tasks):
        raise InvalidSettings("TASK", "is missing, or --dead is given too", "give exactly one of them")
    return run_async(_retry, invocation, run, tasks, reason)


async def _retry(invocation: Invocation, prefix: str, tasks: Sequence[str], reason: str | None) -> Exit:
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        named = tuple([(await operator.records.task(run, task)).id for task in tasks])
        request = RetryRequest(tasks=named) if reason is None else RetryRequest(tasks=named, reason=reason)
        reply = await operator.retry(run, request)
    if invocation.json:
        emit_json({"run": run, **reply.model_dump(mode="json")})
    else:
        _say(run, reply)
    return Exit.OK if reply.retried or not reply.refused else Exit.FAILED


def _say(run: str, reply: RetryReply) -> None:
    for one in reply.refused:
        message(f"task {one.task} does not begin again: {one.reason}")
    message(f"{reply.retried:,} tasks of run {run} begin again")
