"""`coordinator cancel`: asks a run's leader to end it, or some of its tasks."""

from collections.abc import Iterator, Sequence

import click

from blackboard.state import TaskRow
from coordinator.commands.acting import check_reason, operating
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.operating import Cancelled
from coordinator.output import emit_json, message
from protocol.messages import CancelRequest
from protocol.running import run_async


@click.command("cancel", cls=Verb)
@click.argument("run")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--reason", metavar="TEXT", help="Why; it is recorded.")
@pass_invocation
def command(invocation: Invocation, run: str, tasks: tuple[str, ...], reason: str | None) -> None:
    """End a RUN, or only some of its TASKs. What is under way is dropped, and late results are refused.

    What was found stays. The answer says which tasks their workers have stopped, and which may go on
    because a worker did not say.
    """
    check_reason(reason)
    run_async(_cancel, invocation, run, tasks, reason)


async def _cancel(invocation: Invocation, prefix: str, tasks: Sequence[str], reason: str | None) -> None:
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        named = tuple([(await operator.records.task(run, task)).id for task in tasks])
        request = CancelRequest(tasks=named) if reason is None else CancelRequest(tasks=named, reason=reason)
        cancelled = await operator.cancel(run, request)
    if invocation.json:
        emit_json(as_json(cancelled))
        return
    for line in _lines(cancelled, named):
        message(line)


def as_json(cancelled: Cancelled) -> dict[str, object]:
    totals = cancelled.totals
    return {
        "run": totals.run,
        "already_ended": cancelled.already_ended,
        "status": totals.status,
        "reason": totals.reason,
        "tasks": cancelled.tasks,
        "confirmed": [_stop(task) for task in cancelled.confirmed],
        "uncertain": [_stop(task) for task in cancelled.uncertain],
    }


def _stop(task: TaskRow) -> dict[str, str | None]:
    return {"task": task.id, "agent": task.agent, "worker": task.worker}


def _lines(cancelled: Cancelled, named: Sequence[str]) -> Iterator[str]:
    totals = cancelled.totals
    if cancelled.already_ended:
        what = f"run {totals.run} has ended already: {totals.status}, {totals.reason}"
        yield what if not named or totals.ended else "these tasks have ended already"
        return
    what = f"of run {totals.run} are cancelled" if named else f"are cancelled with run {totals.run}"
    yield f"{cancelled.tasks:,} tasks {what}; {len(cancelled.confirmed):,} of them ran and have stopped"
    for task in cancelled.uncertain:
        yield f"task {task.id} of {task.agent} may go on: worker {task.worker} did not say that it has ended"
    if not named:
        yield f"run {totals.run} is {totals.status}: {totals.reason}"
