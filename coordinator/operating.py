"""What an operator asks of a run's leader: from the command line, or over HTTP."""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import anyio
from pydantic import JsonValue

from blackboard.state import TaskRow, Totals
from blackboard.store import BlackboardStore
from coordinator.breakers import BreakerRecord
from coordinator.builds import Offer
from coordinator.quotas import QuotaRecord, overview
from coordinator.records import Records
from coordinator.reopening import reopen
from coordinator.settings import Settings
from protocol import subjects
from protocol.codec import decode, decode_as, encode
from protocol.errors import InvalidMessage, NoResponder, NotFound, OperatorError, UserError
from protocol.limits import Quota
from protocol.messages import (
    AnswerReply,
    AnswerRequest,
    CancelReply,
    CancelRequest,
    ErrorReply,
    PauseReply,
    PauseRequest,
    Record,
    RetryReply,
    RetryRequest,
    SwarmHeartbeat,
)
from protocol.providers import Breaker
from protocol.transport.contract import Transport

OPERATOR_NAME = "operator"
REQUEST_SECONDS = 10.0
LEADER_SECONDS = 3.0
"""How long a run may be without a leader: one that was just submitted has none yet."""
POLL_SECONDS = 0.05
END_SECONDS = 30.0
"""How long a cancelled run may take to end: workers have some seconds to say that they have stopped. And how
long the lease of an ended run may be somebody else's."""

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


class AnswerRefused(UserError):
    """The leader did not take the answer."""

    def __init__(self, inquiry: str, reason: str) -> None:
        super().__init__(f"inquiry {inquiry}: {reason}")


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancellation came to. Of tasks that ran, workers have `confirmed` that they stopped, or nobody
    knows, and they may be going on: `uncertain`. Their late results are refused in both cases.
    """

    totals: Totals
    already_ended: bool
    tasks: int = 0
    confirmed: Sequence[TaskRow] = ()
    uncertain: Sequence[TaskRow] = ()


@dataclass(frozen=True, slots=True)
class Operator:
    """The verbs that change a run. Each returns once what it did is committed.

    :raises NoLeader: from every verb, when nobody leads the run.
    :raises LeaderRefused: from every verb, when the leader answers with an error.
    :raises TransportUnavailable: from every verb, when the answer does not come.
    """

    store: BlackboardStore
    transport: Transport
    settings: Settings

    @property
    def records(self) -> Records:
        return Records(self.store)

    async def offers(self) -> Sequence[Offer]:
        """What workers offer that may be given work: the bus keeps their beats up to the silence limit.

        Beats that cannot be read are left to `coordinator workers` to name.
        """
        offers: list[Offer] = []
        for stored in await self.transport.last_per_subject(subjects.HEARTBEATS_STREAM):
            with suppress(InvalidMessage):
                beat = decode_as(stored.data, SwarmHeartbeat)
                if beat.status in ("alive", "busy"):
                    offers.append(Offer.of(beat))
        return offers

    async def retry(self, run: str, request: RetryRequest) -> RetryReply:
        """Begins tasks again that ended without a result, and reopens the run for it where it has ended.

        :raises Overloaded: when it has ended, and too many runs are active to reopen it.
        """
        deadline = anyio.current_time() + END_SECONDS
        while True:
            reply = await ask_leader(self.records, self.transport, run, "retry", request, RetryReply)
            reply = reply or await reopen(
                self.store, run, request, max_active=self.settings.admission.max_active_runs
            )
            if reply is not None:
                self.transport.emit(subjects.RUNS, b"")
                return reply
            if anyio.current_time() > deadline:
                raise NoLeader(run, "retry")
            await anyio.sleep(POLL_SECONDS)

    async def pause(self, run: str, request: PauseRequest) -> PauseReply:
        """Lets nothing new begin in a run, or lets it go on."""
        verb = "pause" if request.paused else "resume"
        reply = await ask_leader(self.records, self.transport, run, "pause", request, PauseReply, what=verb)
        return reply or PauseReply(verdict="ended")

    async def cancel(self, run: str, request: CancelRequest) -> Cancelled:
        """Ends a run or some of its tasks, and waits until it is settled which of these have stopped.

        :raises NotFound: when the run has none of the tasks.
        """
        reply = await ask_leader(self.records, self.transport, run, "cancel", request, CancelReply)
        if reply is None:
            return Cancelled(await self.records.totals(run), already_ended=True)
        if reply.missing:
            raise NotFound("task", reply.missing[0])
        with anyio.move_on_after(END_SECONDS):
            while True:
                totals = await self.records.totals(run)
                rows = await self._stops(run, request) if reply.stopping else []
                settled = totals.ended or bool(request.tasks)
                if settled and not any(task.stop == "asked" for task in rows):
                    break
                await anyio.sleep(POLL_SECONDS)
        totals = await self.records.totals(run)
        rows = await self._stops(run, request) if reply.stopping else []
        return Cancelled(
            totals,
            already_ended=reply.already_ended,
            tasks=reply.cancelled,
            confirmed=[task for task in rows if task.stop == "confirmed"],
            uncertain=[task for task in rows if task.stop in {"asked", "uncertain"}],
        )

    async def _stops(self, run: str, request: CancelRequest) -> list[TaskRow]:
        """The tasks of a request that ran when they were cancelled; of a run, all that ever did."""
        tasks = [task for task in await self.records.tasks(run) if task.stop]
        return [task for task in tasks if not request.tasks or task.id in request.tasks]

    async def close(self, provider: str, now_ms: int) -> Breaker:
        """Closes the circuit breaker of a provider. Coordinators learn it from the record within a second.

        :raises NotFound: where no failure of such a provider is known.
        """
        return (await BreakerRecord(self.store).close(provider, now_ms)).of(provider)

    async def limits(self) -> Sequence[Quota]:
        """The limits of agents and models, and who has what of them."""
        return overview(await QuotaRecord(self.store).read(), self.settings.limits)

    async def answer(self, run: str, request: AnswerRequest) -> None:
        """Answers an open inquiry.

        :raises AnswerRefused: when the answer does not count.
        """
        reply = await ask_leader(self.records, self.transport, run, "answer", request, AnswerReply)
        if reply is None:
            raise AnswerRefused(request.inquiry, f"run {run} has ended")
        if reply.verdict == "refused":
            raise AnswerRefused(request.inquiry, reply.reason)

    async def signal(self, run: str, name: str, value: JsonValue, answerer: str) -> Sequence[str]:
        """Answers every inquiry that waits for a signal now; returns their ids.

        :raises NotFound: when nobody waits for it.
        """
        rows = [
            row
            for row in await self.records.inquiries(run)
            if row.open and row.wait.kind == "signal" and row.wait.target == name
        ]
        if not rows:
            raise NotFound("task that waits for signal", name)
        for row in rows:
            await self.answer(run, AnswerRequest(inquiry=row.id, answerer=answerer, answer=value))
        return [row.id for row in rows]


async def ask_leader(
    records: Records,
    transport: Transport,
    run: str,
    verb: str,
    request: Record,
    reply: type[Reply],
    *,
    what: str = "",
) -> Reply | None:
    """The leader's answer; None when the run has ended. `what` is the verb in words, where it is another.

    :raises NoLeader: when nobody leads the run.
    :raises LeaderRefused: when the leader answers with an error.
    :raises TransportUnavailable: when the answer does not come.
    """
    data = encode(
        request, source=OPERATOR_NAME, message_id=secrets.token_hex(8), time_ms=time.time_ns() // 1_000_000
    )
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
                raise NoLeader(run, what or verb) from None
            await anyio.sleep(POLL_SECONDS)
            continue
        body = decode(answer).body
        if isinstance(body, ErrorReply):
            raise LeaderRefused(body)
        return decode_as(answer, reply)
