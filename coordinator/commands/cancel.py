"""`coordinator cancel`: asks a run's leader to end it."""

import anyio
import click

from blackboard.state import Totals
from coordinator import connections
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.operating import OPERATOR_NAME, ask_leader
from coordinator.output import emit_json, message
from coordinator.records import Records
from coordinator.settings import Settings
from protocol.errors import InvalidSettings
from protocol.messages import CancelReply, CancelRequest
from protocol.running import run_async

REASON_LENGTH = 500
END_SECONDS = 30.0
POLL_SECONDS = 0.05


@click.command("cancel", cls=Verb)
@click.argument("run")
@click.option("--reason", metavar="TEXT", help="Why; it is recorded.")
@pass_invocation
def command(invocation: Invocation, run: str, reason: str | None) -> None:
    """End a run: what is under way is dropped, and late results are refused. What was found stays."""
    if reason is not None and not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidSettings("--reason", f"is not 1 to {REASON_LENGTH} characters", "say it in a sentence")
    settings = prepare(invocation).settings
    request = CancelRequest() if reason is None else CancelRequest(reason=reason)
    run_async(_cancel, invocation, settings, run, request)


async def _cancel(invocation: Invocation, settings: Settings, prefix: str, request: CancelRequest) -> None:
    async with connections.store(settings) as store:
        records = Records(store)
        totals = await records.totals(await records.find(prefix))
        already = totals.ended
        if not already:
            async with connections.transport(settings, name=OPERATOR_NAME) as transport:
                reply = await ask_leader(records, transport, totals.run, "cancel", request, CancelReply)
                already = reply is None or reply.already_ended
            totals = await _ended(records, totals.run)
    if invocation.json:
        emit_json(
            {
                "run": totals.run,
                "already_ended": already,
                "status": totals.status,
                "reason": totals.reason,
            }
        )
    elif already:
        message(f"run {totals.run} has ended already: {totals.status}, {totals.reason}")
    else:
        message(f"run {totals.run} is {totals.status}: {totals.reason}")


async def _ended(records: Records, run: str) -> Totals:
    """The run's record once it has ended: open tasks end with the request, the run right after."""
    with anyio.move_on_after(END_SECONDS):
        while not (totals := await records.totals(run)).ended:  # noqa: ASYNC110 - another process ends it
            await anyio.sleep(POLL_SECONDS)
        return totals
    return await records.totals(run)
