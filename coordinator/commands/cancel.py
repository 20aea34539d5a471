"""`coordinator cancel`: asks a run's leader to end it."""

import secrets

import anyio
import click

from blackboard.state import Totals
from coordinator import connections
from coordinator.commands.shared import now_ms, prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import Records
from coordinator.settings import Settings
from protocol import subjects
from protocol.codec import decode, decode_as, encode
from protocol.errors import InvalidSettings, NoResponder, OperatorError
from protocol.messages import CancelReply, CancelRequest, ErrorReply
from protocol.running import run_async
from protocol.transport.contract import Transport

OPERATOR_NAME = "operator"
REASON_LENGTH = 500
REQUEST_SECONDS = 10.0
LEADER_SECONDS = 3.0
"""How long a run may be without a leader: one that was just submitted has none yet."""
END_SECONDS = 30.0
POLL_SECONDS = 0.05


class NoLeader(OperatorError):
    """Nobody leads the run, so nobody can end it."""

    def __init__(self, run: str) -> None:
        super().__init__(
            f"no coordinator leads run {run}, so nobody can cancel it now; start one with "
            "`coordinator up` or `coordinator serve`, and ask again"
        )


class CancelRefused(OperatorError):
    """The leader answered with an error."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(f"the run's leader refused: {reply.message}")


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
                already = await _ask_leader(records, transport, totals.run, request)
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


async def _ask_leader(records: Records, transport: Transport, run: str, request: CancelRequest) -> bool:
    """Whether there was nothing left to cancel.

    :raises NoLeader: when nobody leads the run.
    :raises TransportUnavailable: when the answer does not come.
    """
    data = encode(request, source=OPERATOR_NAME, message_id=secrets.token_hex(8), time_ms=now_ms())
    deadline = anyio.current_time() + LEADER_SECONDS
    while True:
        try:
            answer = await transport.request(
                subjects.board(run, OPERATOR_NAME, "cancel"), data, timeout_seconds=REQUEST_SECONDS
            )
        except NoResponder:
            if (await records.totals(run)).ended:
                return True
            if anyio.current_time() > deadline:
                raise NoLeader(run) from None
            await anyio.sleep(POLL_SECONDS)
            continue
        body = decode(answer).body
        if isinstance(body, ErrorReply):
            raise CancelRefused(body)
        return decode_as(answer, CancelReply).already_ended


async def _ended(records: Records, run: str) -> Totals:
    """The run's record once it has ended: open tasks end with the request, the run right after."""
    with anyio.move_on_after(END_SECONDS):
        while not (totals := await records.totals(run)).ended:  # noqa: ASYNC110 - another process ends it
            await anyio.sleep(POLL_SECONDS)
        return totals
    return await records.totals(run)
