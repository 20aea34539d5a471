"""The leader of one run, from taking over to the run's end or the loss of the lead."""

import gc
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from blackboard.encoding import decode_state
from blackboard.store import Loaded
from coordinator.archiving import Archiving
from coordinator.condensing import Condensing
from coordinator.decision import Effect, Lead, Stopped
from coordinator.dispatcher import Dispatcher
from coordinator.effects import Release
from coordinator.group_commit import GroupCommit
from coordinator.inbox import Inbox
from coordinator.liveness import stopped, superfluous
from coordinator.observations import BusDrift, LeadEnd, LeaderGained, LeaderLost, StoreRetry
from coordinator.office import Office
from coordinator.outbox import Outbox
from coordinator.pace import Pace
from coordinator.run import Run
from coordinator.topology import discovery_consumer, task_consumer
from protocol import subjects
from protocol.errors import StoreUnavailable
from protocol.messages import Control, SwarmHeartbeat
from protocol.transport.contract import Puller

DISCOVERY_CREDITS = 1024


class Leader:
    """Puts the parts together: inbox and dispatcher decide, the group commit makes true, effects leave."""

    def __init__(self, office: Office, run: str, token: str) -> None:
        self._office = office
        self._id = run
        self._token = token
        self._since = anyio.current_time()
        self._leading = False
        self._over = False
        self._group: GroupCommit | None = None
        self._run: Run
        self._inbox: Inbox
        self._release: Release
        self._puller: Puller
        self._tasks: TaskGroup

    @property
    def run(self) -> Run:
        """The tentative state; for reading only."""
        return self._run

    @property
    def leading(self) -> bool:
        """Whether the rows are loaded and commands are taken."""
        return self._leading

    @property
    def head(self) -> int:
        """Number of the last event that this leader has committed; 0 before its first append."""
        return self._group.committed if self._group is not None else 0

    async def lead(self) -> LeadEnd:
        """Leads until the run has ended (`released`) or the lead is lost.

        :raises StoreUnavailable: when the rows cannot be read.
        :raises TransportUnavailable: when the run's queues cannot be made.
        """
        office = self._office
        loaded = await self._load()
        if not loaded.head:
            return "released"
        self._run = Run.of(decode_state(loaded))
        gc.freeze()  # the rows live as long as the lead: collections need not walk them again
        if self._run.state.totals.ended:
            return await self._finish(loaded.head)
        lost = office.heads.lost(self._id, loaded.head)
        group = self._group = GroupCommit(office, self._run, self._token, loaded.head)
        group.do(Lead(office.post.name, lost))
        await self.ensure_queues()
        if not await self._hold():
            return "stale"  # making the state took longer than the lease, and somebody else leads by now
        end: LeadEnd = "unavailable"
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            self._tasks = tasks
            dispatcher = await self._open(group, stack)
            self._leading = True
            office.shares.bell.set()
            office.observers.notify(LeaderGained(self._id, anyio.current_time() - self._since, lost))
            tasks.start_soon(dispatcher.sweep_regularly, name=f"sweep {self._id}")
            if office.settings.retention.archive:
                tasks.start_soon(Archiving(office, group).keep_up, name=f"archive {self._id}")
            tasks.start_soon(Condensing(office, group).keep_up, name=f"condense {self._id}")
            end = await group.commit(dispatcher.fill, self._committed)
            tasks.cancel_scope.cancel()
        self._leading = False
        office.observers.notify(LeaderLost(self._id, end))
        if end == "released":
            return await self._finish(group.committed)
        return end

    async def _load(self) -> Loaded:
        """Reads the rows, which may take longer than the lease: it is renewed meanwhile."""
        loaded = Loaded(0, {})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hold_on, name=f"hold {self._id}")
            loaded = await self._office.store.load(self._id)
            tasks.cancel_scope.cancel()
        return loaded

    async def _hold_on(self) -> None:
        while True:
            await anyio.sleep(self._office.settings.liveness.lease_seconds / 3)
            try:
                await self._hold()
            except StoreUnavailable:
                self._office.observers.notify(StoreRetry(self._id, "lead"))

    async def _hold(self) -> bool:
        """Renews the lease where nobody else holds it."""
        ttl = self._office.settings.liveness.lease_seconds
        return await self._office.store.acquire(self._id, self._token, ttl_seconds=ttl)

    async def ensure_queues(self) -> None:
        """Makes, or makes again, the queues of the run's agents and of its discoveries.

        :raises TransportUnavailable:
        """
        agents = self._run.state.spec.agents
        consumers = [discovery_consumer(self._id), *(task_consumer(agent.name) for agent in agents)]
        for drift in await self._office.transport.ensure((), consumers):
            self._office.observers.notify(BusDrift(drift.name, drift.remedy))
        if self._over:  # it ended meanwhile: what was taken away may have been made again
            await self._office.transport.delete_consumer(consumers[0].stream, consumers[0].durable)

    async def _open(self, group: GroupCommit, stack: AsyncExitStack) -> Dispatcher:
        """Starts to listen: board requests of this run, its discoveries; and asks all workers to beat."""
        office = self._office
        pace = Pace(self._since)
        outbox = Outbox(office, self._token, pace)
        self._release = Release(office, self._run, outbox, self._tasks)
        self._inbox = Inbox(office, group, outbox, pace, self._tasks)
        for verb, handler in self._inbox.verbs.items():
            subject = subjects.board(self._id, "*", verb)
            await stack.enter_async_context(office.transport.subscribe(subject, handler))
        consumer = discovery_consumer(self._id)
        self._puller = await stack.enter_async_context(
            office.transport.pull(consumer.stream, consumer.durable, self._inbox.on_discovery)
        )
        self._puller.add_credits(DISCOVERY_CREDITS)
        holders = {*self._run.state.held, *office.fleet.beats(anyio.current_time())}
        for worker in sorted(holders):
            office.post.control(worker, Control(order="beat"))
        return Dispatcher(office, group, outbox, pace, self._since)

    def heard(self, beat: SwarmHeartbeat) -> None:
        """Tells a worker what it holds in vain, and notes what it has stopped. Called for every beat that
        the service hears.
        """
        if not self._leading:
            return  # the rows may still be on their way
        if self._group is not None and self._run.state.stopping:
            tasks = stopped(beat, self._run.state)
            if tasks:
                self._group.do(Stopped(tasks))
        leases = superfluous(beat, self._run.state)
        if leases:
            self._office.post.control(beat.worker, Control(drop=tuple(leases)))

    def spread(self) -> None:
        """The shares changed: there may be room for more."""
        if self._group is not None:
            self._group.wake()

    def resign(self) -> None:
        """Ends the lead as soon as no append is under way."""
        if self._group is not None:
            self._group.resign()

    def _committed(self, effects: Sequence[Effect]) -> None:
        self._release.all(effects)
        taken = self._inbox.take_credits()
        if taken:
            self._puller.add_credits(taken)

    async def _finish(self, head: int) -> LeadEnd:
        """The run is over: take its queue away, then let it expire. Should either fail, both are repeated."""
        self._over = True
        consumer = discovery_consumer(self._id)
        await self._office.transport.delete_consumer(consumer.stream, consumer.durable)
        keep_seconds = self._run.state.spec.keep_seconds or self._office.settings.retention.keep_seconds
        finished = await self._office.store.finish(self._id, head, keep_seconds=keep_seconds)
        return "released" if finished else "rolled_back"
