"""Claims: what arrives for a run while its claim requests are under way goes into the next one."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from agents.board import Board, BoardRefused
from agents.ledger import Holding, Ledger
from agents.observations import Claimed, ClaimUnanswered, Observers
from protocol.errors import InvalidMessage, TransportUnavailable
from protocol.messages import ClaimReply, ClaimRequest, Grant, Lease, SwarmTask
from protocol.transport.contract import Delivery

CLAIM_SECONDS = 2.0
BATCH = 200
TOGETHER = 2
"""Claims of one run under way at once, so that its leader decides one while another travels."""
RETRY_SECONDS = (1.0, 5.0)
"""An unanswered task comes back after a pause in this range, perhaps to another worker."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    task: SwarmTask
    delivery: Delivery


class Claims:
    """Turns deliveries that took a slot into leases.

    `start` takes over the slot of a granted lease; `freed` is called after slots became free, `sending`
    before each request. `chance` in [0, 1) spreads the returns.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        board: Board,
        ledger: Ledger,
        observers: Observers,
        *,
        start: Callable[[Grant, Holding], None],
        freed: Callable[[], None],
        sending: Callable[[], None],
        chance: Callable[[], float],
    ) -> None:
        self._tasks = tasks
        self._board = board
        self._ledger = ledger
        self._observers = observers
        self._start = start
        self._freed = freed
        self._sending = sending
        self._chance = chance
        self._waiting: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._serving = Counter[str]()
        self._tokens: set[str] = set()

    def add(self, task: SwarmTask, delivery: Delivery) -> None:
        """Claims the task of a delivery that took a slot; one whose claim is under way comes again later."""
        if task.token in self._tokens:
            self._give_back([_Waiting(task, delivery)])
            self._freed()
            return
        self._tokens.add(task.token)
        waiting = self._waiting[task.run]
        waiting.append(_Waiting(task, delivery))
        if len(waiting) == 1 and self._serving[task.run] < TOGETHER:
            self._serving[task.run] += 1
            self._tasks.start_soon(self._serve, task.run, name=f"claims of {task.run}")

    async def _serve(self, run: str) -> None:
        """Claims for one run until nothing waits."""
        while waiting := self._waiting[run]:
            batch, self._waiting[run] = waiting[:BATCH], waiting[BATCH:]
            self._sending()
            await self._claim(run, batch)
            self._tokens.difference_update(one.task.token for one in batch)
            self._freed()
        self._serving[run] -= 1
        if not self._serving[run]:
            del self._serving[run], self._waiting[run]

    async def _claim(self, run: str, batch: Sequence[_Waiting]) -> None:
        number = self._ledger.open_claim()
        try:
            reply, seconds = await self._answer(run, self._request(number, batch))
        except (TransportUnavailable, BoardRefused, InvalidMessage) as error:
            self._ledger.close_claim(number)
            _log.info("claim of %d tasks of run %s came to nothing: %s", len(batch), run, error)
            self._observers.notify(ClaimUnanswered(len(batch)))
            pause = error.reply.retry_after_seconds if isinstance(error, BoardRefused) else None
            self._give_back(batch, pause or 0.0)
            return
        self._observers.notify(Claimed(len(reply.grants), len(reply.refusals), seconds))
        self._settle(number, batch, reply)

    async def _answer(self, run: str, request: ClaimRequest) -> tuple[ClaimReply, float]:
        """The reply, and after how many seconds it came.

        One that was there in time, but is only read after the process stood still, may grant what others hold
        by now, with a journal that has grown: beginning with it could pay again for what is recorded.

        :raises TransportUnavailable: also then.
        """
        began = anyio.current_time()
        reply = await self._board.once(run, "claim", request, ClaimReply, CLAIM_SECONDS)
        seconds = anyio.current_time() - began
        if seconds > CLAIM_SECONDS:
            raise TransportUnavailable("claim", f"the answer was read after {seconds:.1f} s, too late")
        return reply, seconds

    def _request(self, number: int, batch: Sequence[_Waiting]) -> ClaimRequest:
        identity, builds = self._ledger.identity, self._ledger.builds
        return ClaimRequest(
            worker=identity.worker,
            incarnation=identity.incarnation,
            number=number,
            leases=tuple(Lease(task=one.task.task, token=one.task.token) for one in batch),
            slots=self._ledger.slots,
            free_slots=self._ledger.free_slots,
            builds={one.task.agent: builds[one.task.agent] for one in batch if one.task.agent in builds},
        )

    def _settle(self, number: int, batch: Sequence[_Waiting], reply: ClaimReply) -> None:
        asked = {one.task.token: one for one in batch}
        granted = [
            (grant, asked.pop(grant.token), Holding(grant.run, grant.task, grant.token))
            for grant in reply.grants
            if grant.token in asked and grant.agent in self._ledger.agents
        ]
        refused = [
            (refusal, asked.pop(refusal.token)) for refusal in reply.refusals if refusal.token in asked
        ]
        self._ledger.close_claim(number, [holding for _, _, holding in granted])
        for grant, one, holding in granted:
            one.delivery.ack()
            self._start(grant, holding)
        for refusal, one in refused:
            if refusal.elsewhere:
                asked[refusal.token] = one
                continue
            one.delivery.ack()
            self._ledger.free_slot()
            _log.debug("claim of %s refused: %s", refusal.task, refusal.reason)
        self._give_back(list(asked.values()))

    def _give_back(self, batch: Sequence[_Waiting], least_seconds: float = 0.0) -> None:
        low, high = RETRY_SECONDS
        for one in batch:
            one.delivery.nak(max(least_seconds, low + (high - low) * self._chance()))
            self._ledger.free_slot()
