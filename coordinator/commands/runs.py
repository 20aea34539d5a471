"""`coordinator runs`: the runs, newest first."""

from collections.abc import Mapping

import click

from coordinator.commands.shared import ago, counted, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import Records, RunRecord, states
from protocol.running import run_async

GOAL_WIDTH = 60


@click.command("runs", cls=Verb)
@click.option("--active", is_flag=True, help="Only those that have not ended.")
@pass_invocation
def command(invocation: Invocation, active: bool) -> None:
    """List the runs, newest first."""
    run_async(_list, invocation, active)


async def _list(invocation: Invocation, active: bool) -> None:
    async with stored(invocation) as records:
        runs = await records.runs(active=active)
        tasks = {run.spec.run: await tasks_by_state(records, run) for run in runs}
    if invocation.json:
        emit_json([as_json(run, tasks[run.spec.run]) for run in runs])
    elif not runs:
        which = "unfinished runs" if active else "runs yet"
        message(f"there are no {which}; ask something with: coordinator run QUESTION --corpus PATH")
    else:
        emit_table(
            ("run", "status", "age", "tasks", "goal"),
            [
                (
                    run.spec.run,
                    run.totals.status if run.totals.paused is None else "paused",
                    ago(run.totals.created_ms),
                    counted(tasks[run.spec.run]),
                    _clipped(run.spec.goal),
                )
                for run in runs
            ],
        )


async def tasks_by_state(records: Records, run: RunRecord) -> Mapping[str, int]:
    """Tasks in each state; an ended run has only settled ones, which its totals count."""
    return run.totals.tasks if run.totals.ended else states(await records.tasks(run.spec.run))


def as_json(run: RunRecord, tasks: Mapping[str, int]) -> Mapping[str, object]:
    """A run at a glance."""
    totals = run.totals
    return {
        "run": run.spec.run,
        "status": totals.status,
        "reason": totals.reason,
        "paused": totals.paused,
        "goal": run.spec.goal,
        "tasks": tasks,
        "artifacts": totals.artifacts,
        "created_ms": totals.created_ms,
        "ended_ms": totals.ended_ms,
    }


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= GOAL_WIDTH else line[: GOAL_WIDTH - 1] + "…"
