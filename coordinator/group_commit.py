"""Group commit: decisions are made at once, on the tentative state; their events become true together.

While an append is under way, what is decided joins the next group. Effects leave only when their group
is committed. A refused append ends the lead: the tentative state is dropped, and whoever leads next
reads the rows.
"""

from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import anyio

from blackboard.encoding import encode_changes, encode_event
from blackboard.events import Event
from blackboard.store import Batch
from coordinator.archived import Archived
from coordinator.decide import decide
from coordinator.decision import Command, Decision, Effect, Env
from coordinator.observations import Appended, LeadEnd, StoreRetry
from coordinator.observing import observe
from coordinator.office import Office
from coordinator.recall import Recall
from coordinator.run import Run
from coordinator.segments import Segments
from protocol.errors import HeadMismatch, NotFound, StaleLeader, StoreUnavailable

STORE_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class GroupCommit:
    """The one way in which a run's state changes."""

    def __init__(self, office: Office, run: Run, token: str, head: int) -> None:
        self.run = run
        """The tentative state; for reading only."""
        self.committed = 0
        """Number of the last event that was committed from here; 0 before the first append."""
        self.recall = Recall(office.store, run.state)
        self._office = office
        self._id = run.state.spec.run
        self._token = token
        self._head = head
        retention = office.settings.retention
        self._orphan_seconds = retention.orphan_seconds
        self.archived = Archived(retention.log_events + retention.segment_events)
        """Where the archive says what may leave the log."""
        self.trimmed = 0
        """Position before which the last append that took anything away has trimmed the log."""
        trimming = Segments(retention.log_events, retention.segment_events)
        self._segments = self.archived if retention.archive else trimming
        self._events: Sequence[Event] = []
        self._effects: list[Effect] = []
        self._pending: list[Event] = []
        self._wake = anyio.Event()
        self._failure: Exception | None = None
        self._resigned = False

    @property
    def waiting(self) -> int:
        """Effects that wait for the next append."""
        return len(self._effects)

    @property
    def uncommitted(self) -> Iterable[Event]:
        """Events that are decided but not true yet, those of the append under way included."""
        return chain(self._events, self._pending)

    def wake(self) -> None:
        """There may be something to dispatch."""
        self._wake.set()

    def resign(self) -> None:
        """Ends `commit` before its next group; what is not committed is dropped."""
        self._resigned = True
        self._wake.set()

    def do(self, command: Command) -> Decision:
        """Decides, applies to the tentative state, and keeps what must be appended and let out.

        An error ends the lead: the tentative state can't be trusted any more.
        """
        if self._failure is not None:
            return Decision()
        clock = self._office.clock
        try:
            decision = decide(self.run, command, Env(clock.now_ms(), clock.token, clock.draw))
            for event in decision.events:
                self.run.apply(event)
        except Exception as error:  # noqa: BLE001 - `commit` raises it
            self._failure = error
            self._wake.set()
            return Decision()
        if decision.events or decision.effects:
            self._pending += decision.events
            self._effects += decision.effects
            self._wake.set()
        return decision

    async def commit(
        self, prepare: Callable[[], None], committed: Callable[[Sequence[Effect]], None]
    ) -> LeadEnd:
        """Appends group after group, until the run has ended or the lead is lost.

        `prepare` may add to each group before it is closed; `committed` lets the effects of each out.
        Without anything to append the lease is renewed three times in its length.
        """
        ttl = self._office.settings.liveness.lease_seconds
        renewed = anyio.current_time()
        while True:
            with anyio.move_on_after(ttl / 3):
                await self._wake.wait()
            if self._resigned:
                return "unavailable"
            self._wake = anyio.Event()  # before `prepare`: what it decides may call for more
            self._prepare(prepare)
            if self._failure is not None:
                raise self._failure
            started = anyio.current_time()
            if not self._pending and not self._effects and started - renewed < ttl / 3:
                continue
            batch, effects = self._close_group()
            get_running_loop().call_soon(self._prepare, prepare)  # the next, while the store is busy
            try:
                self._head = await self._append(batch, ttl)
            except StaleLeader:
                return "stale"
            except HeadMismatch:
                return "rolled_back"
            except NotFound:
                return "unavailable"
            renewed, self.committed = started, self._head
            self.trimmed = batch.trim or self.trimmed
            self._observe(anyio.current_time() - started)
            committed(effects)
            self.recall.forget(batch.dropped)
            if self.run.state.totals.ended and not self._pending:
                return "released"

    def _prepare(self, prepare: Callable[[], None]) -> None:
        try:
            prepare()
        except Exception as error:  # noqa: BLE001 - `commit` raises it
            self._failure = error
            self._wake.set()

    def _close_group(self) -> tuple[Batch, list[Effect]]:
        """The next group, encoded now: the rows go on changing."""
        self._events, self._pending = self._pending, []
        effects, self._effects = self._effects, []
        written = encode_changes(self.run.state)
        leaving = self._segments.leaving(self._head + len(self._events))
        batch = Batch(
            run=self._id,
            token=self._token,
            head=self._head,
            events=[encode_event(event) for event in self._events],
            rows=[*written.rows, *leaving.rows] if leaving.rows else written.rows,
            artifacts=written.artifacts,
            trim=leaving.trim,
            dropped=written.dropped,
            bodies=[*written.bodies, *leaving.bodies],
            released=written.released,
            orphan_seconds=self._orphan_seconds,
        )
        return batch, effects

    async def _append(self, batch: Batch, ttl_seconds: float) -> int:
        """Repeats the same batch until the answer is definite."""
        pauses = iter(STORE_PAUSES_SECONDS)
        while True:
            try:
                return await self._office.store.append(batch, ttl_seconds=ttl_seconds)
            except StoreUnavailable:
                self._office.observers.notify(StoreRetry(self._id, "append"))
                await anyio.sleep(next(pauses, STORE_PAUSES_SECONDS[-1]) * (0.5 + self._office.clock.draw()))

    def _observe(self, seconds: float) -> None:
        events, self._events = self._events, []
        if events:
            self._office.observers.notify(Appended(self._id, len(events), seconds))
        observe(events, self.run.state, self._office.observers)
