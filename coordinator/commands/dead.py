"""`coordinator dead`: the dead letters of a run, with reason and traceback."""

from collections.abc import Iterator

import click

from blackboard.state import TaskRow
from coordinator.commands.shared import ago, stored
from coordinator.commands.tasks import as_json
from coordinator.commands.wording import failure_lines
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import LATEST
from protocol.running import run_async


@click.command("dead", cls=Verb)
@click.argument("run", default=LATEST)
@pass_invocation
def command(invocation: Invocation, run: str) -> None:
    """List the dead letters of a RUN, oldest first: tasks that nobody tries again, and why.

    `coordinator retry` begins them again.
    """
    run_async(_list, invocation, run)


async def _list(invocation: Invocation, prefix: str) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        letters = [task for task in await records.tasks(run) if task.status == "dead"]
        directions = await records.directions(run)
    topics = {task.id: directions[task.direction].topic for task in letters}
    if invocation.json:
        emit_json([as_json(task, directions) for task in letters])
    elif letters:
        for task in letters:
            for line in _lines(task, topics[task.id]):
                click.echo(line)
    else:
        message(f"run {run} has no dead letters")


def _lines(task: TaskRow, topic: str) -> Iterator[str]:
    when = ago(task.settled_ms)
    yield f"{task.id} of {task.agent}, dead for {when}, {task.attempt} attempts: {' '.join(topic.split())}"
    yield f"  {task.reason}"
    yield from (f"  {line}" for text in failure_lines(task) for line in text.splitlines())
    yield ""
