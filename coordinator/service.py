"""The coordinator: stands for the lead of every active run, leads those it gets, and knows the fleet."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from blackboard.store import BlackboardStore
from coordinator.allowances import Allowances
from coordinator.board import Board, Epilogue
from coordinator.clock import Clock
from coordinator.elections import Elections
from coordinator.forwarding import forward_bare_roots
from coordinator.gates import Gates
from coordinator.heads import Heads
from coordinator.leader import Leader
from coordinator.limiter import Limiter
from coordinator.liveness import Fleet, Patience
from coordinator.observations import BusDrift, Observers, Refused
from coordinator.office import Office, Post, Shares
from coordinator.providers import Providers
from coordinator.responses import take_responses
from coordinator.settings import Settings
from coordinator.sharing import Sharing
from coordinator.topology import streams
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, StoreUnavailable, TransportUnavailable
from protocol.limits import LimitTable
from protocol.messages import Control, Held, Refusal, SwarmHeartbeat
from protocol.transport.contract import Message, Transport

TOPOLOGY_SECONDS = 10.0
BUS_RETRY_SECONDS = 1.0
BUS_FAILURES = 2
"""Looks at the bus that fail in a row before this coordinator gives up its leads."""


class Coordinator:
    """One replica. Any number of them may serve the same store and bus."""

    def __init__(
        self,
        store: BlackboardStore,
        transport: Transport,
        settings: Settings,
        clock: Clock,
        observers: Observers,
        *,
        name: str,
    ) -> None:
        liveness = settings.liveness
        self._fleet = Fleet(Patience(liveness.silence_seconds, liveness.grace_seconds))
        self._office = Office(
            store,
            transport,
            clock,
            settings,
            self._fleet,
            observers,
            Post(transport, clock, name, clock.token()),
            Shares(),
            Heads(),
            Gates(),
            Allowances(LimitTable(settings.limits.agents)),
        )
        self._providers = Providers(self._office)
        self._elections = Elections(self._office)
        self._limiter = Limiter(self._office, self._elections)
        self._sharing = Sharing(self._office, self._elections)
        self._bus_answered = True
        self._tasks: TaskGroup
        self._epilogue: Epilogue

    @property
    def ready(self) -> bool:
        """Whether store and bus answered at the last look."""
        return self._elections.answered and self._bus_answered

    @property
    def fleet(self) -> Fleet:
        return self._fleet

    @property
    def leaders(self) -> Mapping[str, Leader]:
        """Leaders of the runs that are led from here, by run."""
        return self._elections.leaders

    async def serve(self) -> None:
        """Serves until it is cancelled; gives up its leads on the way out."""
        office = self._office
        await self._ensure_streams()
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            self._tasks = tasks
            await self._listen(stack)
            await self._read_stored_beats()
            tasks.start_soon(self._elections.hold, tasks, name="elections")
            tasks.start_soon(self._sharing.split, name="shares")
            tasks.start_soon(self._sharing.tell, name="demand")
            tasks.start_soon(self._providers.watch, name="providers")
            tasks.start_soon(self._limiter.watch, name="limits")
            tasks.start_soon(self._ensure_regularly, name="topology")
            tasks.start_soon(forward_bare_roots, office, name="bare roots")
            tasks.start_soon(take_responses, office, name="responses")
            await anyio.sleep_forever()

    async def _listen(self, stack: AsyncExitStack) -> None:
        transport = self._office.transport
        others = {"provider": self._providers.answer, "permits": self._limiter.answer}
        board = Board(self._office, self._tasks, others)
        self._epilogue = Epilogue(self._office, self._tasks, self._elections.is_active)
        for verb, handler in (*board.verbs.items(), *self._epilogue.verbs.items()):
            subject = subjects.board("*", "*", verb)
            await stack.enter_async_context(transport.subscribe(subject, handler, queue="board"))
        handlers: dict[str, Callable[[Message], None]] = {
            subjects.heartbeat("*"): self._on_beat,
            subjects.DEMAND: self._sharing.hear,
            subjects.RUNS: lambda _: self._elections.ring(),
            subjects.BREAKERS: self._providers.hear,
        }
        for subject, handler in handlers.items():
            await stack.enter_async_context(transport.subscribe(subject, handler))

    async def _read_stored_beats(self) -> None:
        now_ms = self._office.clock.now_ms()
        for message in await self._office.transport.last_per_subject(subjects.HEARTBEATS_STREAM):
            beat = self._beat(message)
            if beat is not None:
                self._fleet.stored(beat, anyio.current_time(), (now_ms - beat.sent_ms) / 1000)
                self._office.post.control(beat.worker, Control(order="beat"))

    def _beat(self, message: Message) -> SwarmHeartbeat | None:
        try:
            beat = decode_as(message.data, SwarmHeartbeat)
            if message.subject != subjects.heartbeat(beat.worker):
                raise InvalidMessage("worker", "differs from the subject's", "beat as yourself")
        except InvalidMessage:
            self._office.observers.notify(Refused("message", "invalid"))
            return None
        return beat

    def _on_beat(self, message: Message) -> None:
        beat = self._beat(message)
        if beat is None:
            return
        self._fleet.heard(beat, anyio.current_time())
        held: dict[str, list[Held]] = {}
        for lease in beat.held:
            held.setdefault(lease.run, []).append(lease)
        for leader in self.leaders.values():
            leader.heard(beat)
        for run, leases in held.items():
            if run not in self.leaders and not self._elections.is_active(run):
                self._tasks.start_soon(self._release_orphans, beat.worker, run, leases)

    async def _release_orphans(self, worker: str, run: str, leases: list[Held]) -> None:
        """Tells a worker what became of leases in a run that has ended."""
        settled: list[tuple[str, str]] = []
        stale: list[Refusal] = []
        try:
            if run in await self._office.store.runs(active=True):
                return
            for lease in leases:
                if await self._epilogue.was_settled(run, lease.task, lease.token):
                    settled.append((lease.task, lease.token))
                else:
                    stale.append(Refusal(task=lease.task, token=lease.token, reason="the run is over"))
        except StoreUnavailable:
            return
        drops = tuple(lease for lease in leases if lease.state == "running")
        self._office.post.control(worker, Control(settled=tuple(settled), stale=tuple(stale), drop=drops))

    async def _ensure_streams(self) -> None:
        drifts = await self._office.transport.ensure(
            streams(self._office.settings.liveness.silence_seconds), ()
        )
        for drift in drifts:
            self._office.observers.notify(BusDrift(drift.name, drift.remedy))

    async def _ensure_regularly(self) -> None:
        """Nothing exists only on the bus: what is gone is made again, and leaders publish what was lost.

        Whoever cannot reach the bus leads nothing: another coordinator may reach it.
        """
        period = min(TOPOLOGY_SECONDS, self._office.settings.liveness.lease_seconds)
        failures = 0
        while True:
            await anyio.sleep(BUS_RETRY_SECONDS if failures else period)
            try:
                await self._ensure_all()
            except TransportUnavailable:
                failures += 1
                self._bus_answered = False
                if failures >= BUS_FAILURES:
                    self._elections.withdraw()
            else:
                failures = 0
                self._bus_answered = True
                self._elections.come_back()

    async def _ensure_all(self) -> None:
        await self._ensure_streams()
        for leader in tuple(self.leaders.values()):
            if leader.leading:
                await leader.ensure_queues()
