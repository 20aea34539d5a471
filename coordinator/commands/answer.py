"""`coordinator answer`: answers what a task asks a person."""

import click

from coordinator.commands.acting import check_reason, operating
from coordinator.commands.answering import answerer, approval, parsed
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import the_one
from protocol.errors import InvalidSettings
from protocol.messages import AnswerRequest, Failure
from protocol.running import run_async

REASON_LENGTH = 4_000


@click.command("answer", cls=Verb)
@click.argument("run")
@click.argument("inquiry")
@click.argument("value", required=False)
@click.option("--failure", metavar="TEXT", help="Say why there is no answer, instead of a VALUE.")
@click.option("--approves", metavar="DIGEST", help="What you approve, where the inquiry names it.")
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    inquiry: str,
    value: str | None,
    failure: str | None,
    approves: str | None,
) -> None:
    """Answer an INQUIRY of a RUN with a VALUE: JSON, or text. The first answer counts.

    `coordinator inquiries` lists what is asked.
    """
    if (value is None) == (failure is None):
        raise InvalidSettings("VALUE", "is missing, or --failure is given too", "give exactly one of them")
    check_reason(failure, option="--failure", limit=REASON_LENGTH)
    run_async(_answer, invocation, (run, inquiry), value, failure, approves)


async def _answer(
    invocation: Invocation,
    names: tuple[str, str],
    value: str | None,
    failure: str | None,
    approves: str | None,
) -> None:
    async with operating(invocation) as operator:
        run = await operator.records.find(names[0])
        rows = {row.id: row for row in reversed(await operator.records.inquiries(run))}
        row = rows[the_one("inquiry", names[1], list(rows))]
        request = AnswerRequest(
            inquiry=row.id,
            answerer=answerer(),
            answer=None if value is None else parsed(value, row),
            failure=None if failure is None else Failure(kind="user", message=failure),
            approves=approval(row, approves),
        )
        await operator.answer(run, request)
    if invocation.json:
        emit_json({"run": run, "inquiry": row.id, "answered": True})
    else:
        message(f"inquiry {row.id} of run {run} is answered")
