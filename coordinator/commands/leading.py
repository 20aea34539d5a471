"""Requests of an operator to the leader of a run."""

import secrets
from typing import TypeVar

import anyio

from coordinator.commands.shared import now_ms
from coordinator.records import Records
from protocol import subjects
from protocol.codec import decode, decode_as, encode
from protocol.errors import NoResponder, OperatorError
from protocol.messages import ErrorReply, Record
from protocol.transport.contract import Transport

OPERATOR_NAME = "operator"
REQUEST_SECONDS = 10.0
LEADER_SECONDS = 3.0
"""How long a run may be without a leader: one that was just submitted has none yet."""
POLL_SECONDS = 0.05

Reply = TypeVar("Reply", bound=Record)


class NoLeader(OperatorError):
    """Nobody leads the run, so nobody can do what was asked."""

    def __init__(self, run: str, verb: str) -> None:
        super().__init__(
            f"no coordinator leads run {run}, so nobody can {verb} it now; start one with "
            "`coordinator up` or `coordinator serve`, and ask again"
        )


class LeaderRefused(OperatorError):
    """The leader answered with an error."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(f"the run's leader refused: {reply.message}")


async def ask_leader(
    records: Records, transport: Transport, run: str, verb: str, request: Record, reply: type[Reply]
) -> Reply | None:
    """The leader's answer; None when the run has ended.

    :raises NoLeader: when nobody leads the run.
    :raises LeaderRefused: when the leader answers with an error.
    :raises TransportUnavailable: when the answer does not come.
    """
    data = encode(request, source=OPERATOR_NAME, message_id=secrets.token_hex(8), time_ms=now_ms())
    deadline = anyio.current_time() + LEADER_SECONDS
    while True:
        try:
            answer = await transport.request(
                subjects.board(run, OPERATOR_NAME, verb), data, timeout_seconds=REQUEST_SECONDS
            )
        except NoResponder:
            if (await records.totals(run)).ended:
                return None
            if anyio.current_time() > deadline:
                raise NoLeader(run, verb) from None
            await anyio.sleep(POLL_SECONDS)
            continue
        body = decode(answer).body
        if isinstance(body, ErrorReply):
            raise LeaderRefused(body)
        return decode_as(answer, reply)
