"""`coordinator answer`: answers what a task asks a person."""

import click

from coordinator import connections
from coordinator.commands.answering import Given, approval, parsed, send
from coordinator.commands.leading import OPERATOR_NAME
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import Records, the_one
from coordinator.settings import Settings
from protocol.errors import InvalidSettings
from protocol.messages import Failure
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
    if failure is not None and not 0 < len(failure) <= REASON_LENGTH:
        raise InvalidSettings(
            "--failure", f"is not 1 to {REASON_LENGTH:,} characters", "say it in a sentence"
        )
    settings = prepare(invocation).settings
    run_async(_answer, invocation, settings, (run, inquiry), value, failure, approves)


async def _answer(
    invocation: Invocation,
    settings: Settings,
    names: tuple[str, str],
    value: str | None,
    failure: str | None,
    approves: str | None,
) -> None:
    async with (
        connections.store(settings) as store,
        connections.transport(settings, name=OPERATOR_NAME) as transport,
    ):
        records = Records(store)
        run = await records.find(names[0])
        rows = {row.id: row for row in reversed(await records.inquiries(run))}
        row = rows[the_one("inquiry", names[1], list(rows))]
        given = Given(
            value=None if value is None else parsed(value, row),
            failure=None if failure is None else Failure(kind="user", message=failure),
            approves=approval(row, approves),
        )
        await send(records, transport, run, row, given)
    if invocation.json:
        emit_json({"run": run, "inquiry": row.id, "answered": True})
    else:
        message(f"inquiry {row.id} of run {run} is answered")
