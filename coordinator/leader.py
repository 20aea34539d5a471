"""The leader of one run: commands in, one fenced append at a time, effects out.

Handlers decide at once, on the tentative state; while an append is under way, what they decide joins
the next group. Replies, acknowledgements and dispatches leave only when their group is committed. A
refused append ends the lead: the state is dropped, and whoever leads next reads the rows.
"""

import gc
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from blackboard import events as ev
from blackboard.encoding import decode_state, encode_artifact, encode_event, encode_rows
from blackboard.events import Event
from blackboard.store import Batch
from coordinator.decide import decide
from coordinator.decision import (
    AnswerInquiry,
    Cancel,
    Claim,
    Command,
    Commit,
    Conclude,
    Decision,
    Effect,
    Env,
    Judge,
    Lead,
    RecordSteps,
    Redispatch,
    Sweep,
    Visit,
)
from coordinator.effects import Release
from coordinator.liveness import superfluous
from coordinator.observations import (
    Appended,
    Backlog,
    BusDrift,
    Directions,
    LeadEnd,
    LeaderGained,
    LeaderLost,
    Refused,
    Republished,
    StoreRetry,
)
from coordinator.observing import observe
from coordinator.office import Office
from coordinator.outbox import Outbox
from coordinator.pace import Pace
from coordinator.reading import Journals, Unpacking, check_sizes
from coordinator.run import Run
from coordinator.topology import discovery_consumer, task_consumer
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import HeadMismatch, InvalidMessage, NotFound, Overloaded, StaleLeader, StoreUnavailable
from protocol.messages import (
    INLINE_BODY_BYTES,
    AnswerRequest,
    CancelRequest,
    ClaimRequest,
    Control,
    RecordRequest,
    SwarmDiscovery,
    SwarmHeartbeat,
)
from protocol.transport.contract import Delivery, Message, Puller

DISCOVERY_CREDITS = 1024
TRIM_EVENTS = 1000
"""The log is trimmed by segments of so many events."""
STORE_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class Leader:
    """Leads one run under one token, from taking over to the run's end or the loss of the lead."""

    def __init__(self, office: Office, run: str, token: str) -> None:
        self._office = office
        self._id = run
        self._token = token
        self._events: list[Event] = []
        self._appending: list[Event] = []
        self._effects: list[Effect] = []
        self._wake = anyio.Event()
        self._since = anyio.current_time()
        self._pace = Pace(self._since)
        self._credits = 0
        self._run: Run
        self._head = 0
        self._committed_head = 0
        self._leading = False
        self._failure: Exception | None = None
        self._trimmed = 0
        self._outbox: Outbox
        self._release: Release
        self._journals: Journals
        self._unpacking: Unpacking
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
        return self._committed_head

    async def lead(self) -> LeadEnd:
        """Leads until the run has ended (`released`) or the lead is lost.

        :raises StoreUnavailable: when the rows cannot be read.
        :raises TransportUnavailable: when the run's queues cannot be made.
        """
        loaded = await self._office.store.load(self._id)
        if not loaded.head:
            return "released"
        self._run = Run.of(decode_state(loaded))
        gc.freeze()  # the rows live as long as the lead: collections need not walk them again
        self._head = loaded.head
        if self._run.state.totals.ended:
            await self._finish()
            return "released"
        lost = self._office.heads.lost(self._id, loaded.head)
        self._do(Lead(self._office.post.name, lost))
        await self.ensure_queues()
        end: LeadEnd = "unavailable"
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            self._tasks = tasks
            await self._open(stack)
            self._leading = True
            self._office.observers.notify(LeaderGained(self._id, anyio.current_time() - self._since, lost))
            tasks.start_soon(self._sweep_regularly, name=f"sweep {self._id}")
            end = await self._commit_groups()
            tasks.cancel_scope.cancel()
        self._leading = False
        self._office.observers.notify(LeaderLost(self._id, end))
        if end == "released":
            await self._finish()
        return end

    async def ensure_queues(self) -> None:
        """Makes, or makes again, the queues of the run's agents and of its discoveries.

        :raises TransportUnavailable:
        """
        agents = self._run.state.spec.agents
        consumers = [discovery_consumer(self._id), *(task_consumer(agent.name) for agent in agents)]
        for drift in await self._office.transport.ensure((), consumers):
            self._office.observers.notify(BusDrift(drift.name, drift.remedy))

    async def _open(self, stack: AsyncExitStack) -> None:
        """Starts to listen: board requests of this run, its discoveries; and asks all workers to beat."""
        office = self._office
        self._outbox = Outbox(office, self._token)
        self._release = Release(office, self._run, self._outbox, self._tasks)
        self._journals = Journals(office.store, self._run.state)
        self._unpacking = Unpacking(office.store, self._id)
        handlers: dict[str, Callable[[Message], None]] = {
            "claim": self._on_claim,
            "record": self._on_record,
            "cancel": self._on_cancel,
            "answer": self._on_answer,
        }
        for verb, handler in handlers.items():
            await stack.enter_async_context(
                office.transport.subscribe(subjects.board(self._id, "*", verb), handler)
            )
        consumer = discovery_consumer(self._id)
        self._puller = await stack.enter_async_context(
            office.transport.pull(consumer.stream, consumer.durable, self._on_discovery)
        )
        self._puller.add_credits(DISCOVERY_CREDITS)
        holders = {*self._run.state.held, *office.fleet.beats(anyio.current_time())}
        for worker in sorted(holders):
            office.post.control(worker, Control(order="beat"))

    # Commands

    def _do(self, command: Command) -> Decision:
        """Decides, applies to the tentative state, and keeps what must be appended and let out.

        An error ends the lead: the tentative state can't be trusted any more.
        """
        if self._failure is not None:
            return Decision()
        try:
            decision = decide(self._run, command, self._env())
            for event in decision.events:
                self._run.apply(event)
        except Exception as error:  # noqa: BLE001 - the commit loop raises it
            self._failure = error
            self._wake.set()
            return Decision()
        if decision.events or decision.effects:
            self._events += decision.events
            self._effects += decision.effects
            self._wake.set()
        return decision

    def _env(self) -> Env:
        clock = self._office.clock
        return Env(clock.now_ms(), clock.token, clock.draw)

    def _on_claim(self, message: Message) -> None:
        try:
            request = decode_as(message.data, ClaimRequest)
            self._admit(message, request.worker)
            if self._office.fleet.superseded(request.worker, request.incarnation):
                raise InvalidMessage(
                    "incarnation", f"a later worker is called {request.worker}", "give each its own name"
                )
        except (InvalidMessage, Overloaded) as error:
            self._refuse(message, error)
            return
        self._office.fleet.claimed(request.worker, anyio.current_time())
        decision = self._do(Claim(request, message))
        for event in decision.events:
            if isinstance(event, ev.TaskClaimed):
                waited = self._outbox.claimed(event.task)
                if waited is not None:
                    self._pace.claimed(waited)

    def _on_record(self, message: Message) -> None:
        try:
            request = decode_as(message.data, RecordRequest)
            self._admit(message, request.worker)
            if len(message.data) > INLINE_BODY_BYTES:
                check_sizes(request.steps)
        except (InvalidMessage, Overloaded) as error:
            self._refuse(message, error)
            return
        if self._journals.known(request.task):
            self._do(RecordSteps(request, message))
        else:
            self._tasks.start_soon(self._record_after_reading, request, message)

    async def _record_after_reading(self, request: RecordRequest, message: Message) -> None:
        try:
            await self._journals.read(request.task)
        except StoreUnavailable as error:
            self._office.post.refuse(message, error)
            return
        self._do(RecordSteps(request, message))

    def _on_cancel(self, message: Message) -> None:
        try:
            request = decode_as(message.data, CancelRequest)
        except InvalidMessage as error:
            self._refuse(message, error)
            return
        self._do(Cancel(request.reason, message))

    def _on_answer(self, message: Message) -> None:
        try:
            request = decode_as(message.data, AnswerRequest)
            self._admit(message, message.subject.split(".")[3])
        except (InvalidMessage, Overloaded) as error:
            self._refuse(message, error)
            return
        self._do(AnswerInquiry(request, message))

    def _on_discovery(self, delivery: Delivery) -> None:
        self._credits += 1
        try:
            discovery = decode_as(delivery.data, SwarmDiscovery)
            if discovery.run != self._id or discovery.worker != delivery.subject.split(".")[2]:
                raise InvalidMessage(
                    "worker", "run or worker differ from the subject's", "publish as yourself"
                )
        except InvalidMessage:
            self._office.observers.notify(Refused("message", "invalid"))
            delivery.term()
            return
        if self._unpacking.needed(discovery):
            self._tasks.start_soon(self._commit_after_unpacking, discovery, delivery)
        else:
            self._commit(discovery, delivery)

    async def _commit_after_unpacking(self, discovery: SwarmDiscovery, delivery: Delivery) -> None:
        try:
            whole = await self._unpacking.unpack(discovery)
        except StoreUnavailable:
            delivery.nak(1.0)
            return
        self._commit(whole, delivery)

    def _commit(self, discovery: SwarmDiscovery, delivery: Delivery) -> None:
        decision = self._do(Commit(discovery, delivery))
        for event in decision.events:
            if isinstance(event, ev.TaskSettled):
                self._outbox.claimed(event.task)
                self._pace.completed()
                self._do(Judge(self._run.state.tasks[event.task].direction))

    def _admit(self, message: Message, worker: str) -> None:
        """:raises InvalidMessage: for a request in another worker's name.
        :raises Overloaded: when too much waits for the next append.
        """
        if message.subject.split(".")[3] != worker:
            raise InvalidMessage("worker", "differs from the subject's", "ask as yourself")
        limit = self._office.settings.admission.max_queued_commands
        if len(self._effects) >= limit:
            raise Overloaded(f"run {self._id}: commands that wait for the store", limit, 1.0)

    def _refuse(self, message: Message, error: InvalidMessage | Overloaded) -> None:
        reason = "overloaded" if isinstance(error, Overloaded) else "invalid"
        self._office.observers.notify(Refused("request", reason))
        self._office.post.refuse(message, error)

    def heard(self, beat: SwarmHeartbeat) -> None:
        """Tells a worker what it holds in vain. The service calls this for every beat of the fleet."""
        leases = superfluous(beat, self._run.state)
        if leases:
            self._office.post.control(beat.worker, Control(drop=tuple(leases)))

    def spread(self) -> None:
        """The shares changed: there may be room for more."""
        self._wake.set()

    # Group commit

    async def _commit_groups(self) -> LeadEnd:
        ttl = self._office.settings.liveness.lease_seconds
        renewed = anyio.current_time()
        while True:
            with anyio.move_on_after(ttl / 3):
                await self._wake.wait()
            if self._failure is not None:
                raise self._failure
            self._fill()
            self._do(Conclude())
            self._wake = anyio.Event()
            started = anyio.current_time()
            if not self._events and not self._effects and started - renewed < ttl / 3:
                continue
            events, effects, batch = self._take()
            try:
                self._head = await self._append(batch, ttl)
            except StaleLeader:
                return "stale"
            except HeadMismatch:
                return "rolled_back"
            except NotFound:
                return "unavailable"
            renewed, self._committed_head = started, self._head
            self._committed(events, effects, anyio.current_time() - started)
            if self._head >= self._trimmed + self._office.settings.retention.log_events + TRIM_EVENTS:
                self._tasks.start_soon(self._trim)
            if self._run.state.totals.ended and not self._events:
                return "released"

    def _take(self) -> tuple[list[Event], list[Effect], Batch]:
        """The next group, encoded now: the rows go on changing."""
        events = self._appending = self._events
        self._events = []
        effects, self._effects = self._effects, []
        changes, posted = self._run.state.take_changes()
        batch = Batch(
            run=self._id,
            token=self._token,
            head=self._head,
            events=[encode_event(event) for event in events],
            rows=encode_rows(changes),
            artifacts=[encode_artifact(artifact) for artifact in posted],
        )
        return events, effects, batch

    async def _append(self, batch: Batch, ttl_seconds: float) -> int:
        """Repeats the same batch until the answer is definite."""
        pauses = iter(STORE_PAUSES_SECONDS)
        while True:
            try:
                return await self._office.store.append(batch, ttl_seconds=ttl_seconds)
            except StoreUnavailable:
                self._office.observers.notify(StoreRetry(self._id, "append"))
                await anyio.sleep(next(pauses, STORE_PAUSES_SECONDS[-1]) * (0.5 + self._office.clock.draw()))

    def _committed(self, events: list[Event], effects: list[Effect], seconds: float) -> None:
        observers = self._office.observers
        self._appending = []
        if events:
            observers.notify(Appended(self._id, len(events), seconds))
            for event in events:
                observe(event, self._run.state, observers)
        self._release.all(effects)
        if self._credits:
            self._puller.add_credits(self._credits)
            self._credits = 0

    async def _trim(self) -> None:
        """Drops the oldest events; rows, artifacts and settlements stay."""
        before = self._head - self._office.settings.retention.log_events
        self._trimmed = before
        try:
            await self._office.store.trim(self._id, before=before)
        except StoreUnavailable:
            self._office.observers.notify(StoreRetry(self._id, "trim"))

    async def _finish(self) -> None:
        """The run is over: take its queue away, then let it expire. Should either fail, both are repeated."""
        consumer = discovery_consumer(self._id)
        await self._office.transport.delete_consumer(consumer.stream, consumer.durable)
        keep_seconds = self._run.state.spec.keep_seconds or self._office.settings.retention.keep_seconds
        await self._office.store.finish(self._id, keep_seconds=keep_seconds)

    # Dispatch and sweep

    def _fill(self) -> None:
        """Dispatches while there is room: what is due again first, then the later agents of the spec."""
        state = self._run.state
        if state.totals.ended or state.totals.cancelling:
            return
        shares = self._office.shares
        prefetch = self._pace.prefetch(anyio.current_time())
        room = {
            agent.name: shares.offered.get(agent.name, 0) + prefetch - state.busy[agent.name]
            for agent in state.spec.agents
        }
        limit = self._office.settings.admission.max_queued_tasks - len(state.dispatched)
        total = min(shares.runs.get(self._id, 0) + prefetch - state.busy.total(), limit)
        if (state.queued or state.asked) and total > 0:
            total -= len(self._do(Redispatch(room, total)).events)
        for agent in reversed(state.spec.agents):
            for _ in range(min(total, shares.offered.get(agent.name, 0) + prefetch - state.busy[agent.name])):
                if not self._do(Visit(agent.name)).events:
                    break
                total -= 1

    async def _sweep_regularly(self) -> None:
        while True:
            await anyio.sleep(self._office.settings.liveness.sweep_seconds)
            now = anyio.current_time()
            self._do(Sweep(self._office.fleet.lost(self._run.state, now, self._since)))
            await self._republish()
            self._report()
            self._wake.set()

    async def _republish(self) -> None:
        state = self._run.state
        empty = await self._outbox.empty_queues(state)
        undecided = {
            event.token for event in (*self._appending, *self._events) if isinstance(event, ev.TaskDispatched)
        }
        overdue = [
            (task, token)
            for task, token in self._outbox.overdue(state, empty_queues=empty)
            if token not in undecided
        ]
        for task, token in overdue:
            self._outbox.publish(state, task, token)
        if overdue:
            self._office.observers.notify(Republished(self._id, len(overdue)))

    def _report(self) -> None:
        state, observers = self._run.state, self._office.observers
        running = dict(state.busy)
        for agent in state.spec.agents:
            queued = sum(state.tasks[task].agent == agent.name for task in state.queued)
            dispatched = sum(state.tasks[task].agent == agent.name for task in state.dispatched)
            active = running.get(agent.name, 0) - dispatched
            observers.notify(Backlog(self._id, agent.name, queued, dispatched, active))
        opened = state.choosable.total()
        observers.notify(Directions(self._id, opened, len(state.directions) - opened))
