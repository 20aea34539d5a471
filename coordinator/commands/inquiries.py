"""`coordinator inquiries`: what a run's tasks wait for."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from blackboard.state import InquiryRow
from coordinator.commands.shared import ago, lasting, now_ms, plain, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST
from protocol.running import run_async

QUESTION_WIDTH = 60


@click.command("inquiries", cls=Verb)
@click.argument("run", default=LATEST)
@click.option("--all", "every", is_flag=True, help="Those that have ended too.")
@pass_invocation
def command(invocation: Invocation, run: str, *, every: bool) -> None:
    """List what a RUN's tasks wait for, oldest first: people, signals, other agents, and moments.

    Answer people's questions with `coordinator answer`, and send signals with `coordinator signal`.
    """
    run_async(_list, invocation, run, every)


async def _list(invocation: Invocation, prefix: str, every: bool) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        known = await records.inquiries(run)
    shown = [row for row in known if every or row.open]
    if invocation.json:
        emit_json([as_json(row) for row in shown])
    elif shown:
        emit_table(("inquiry", "asker", "asked", "of", "state", "question"), [_row(one) for one in shown])
        for row in shown:
            for line in _details(row):
                click.echo(line)
    else:
        message(f"run {run} waits for nothing" + (f"; {len(known):,} inquiries have ended" if known else ""))


def as_json(row: InquiryRow) -> dict[str, Any]:
    """An inquiry with its state."""
    return {**plain(row), "state": state_of(row)}


def state_of(row: InquiryRow) -> str:
    """`open`, `answered`, `failed`, `timed out` or `withdrawn`."""
    if row.withdrawn is not None:
        return "withdrawn"
    if row.answer is None:
        return "open"
    if row.answer.timed_out:
        return "timed out"
    return "failed" if row.answer.failure is not None else "answered"


def _row(row: InquiryRow) -> Sequence[object]:
    line = " ".join(row.wait.question.split())
    shown = line if len(line) <= QUESTION_WIDTH else line[: QUESTION_WIDTH - 1] + "…"
    of = f"{row.wait.kind} {row.wait.target}" if row.wait.kind in {"agent", "signal"} else row.wait.kind
    return row.id, row.asker, f"{ago(row.asked_ms)} ago", of, state_of(row), shown


def _details(row: InquiryRow) -> Iterator[str]:
    if not row.open:
        return
    if row.wait.choices:
        yield f"{row.id}: choices are {', '.join(row.wait.choices)}"
    if row.wait.approves is not None:
        yield f"{row.id}: approves {row.wait.approves}"
    if row.until_ms is not None:
        yield f"{row.id}: ends in {lasting((row.until_ms - now_ms()) / 1000)}"
