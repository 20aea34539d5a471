"""Which runs this coordinator leads: it stands for every active one, and leads those it gets."""

import gc
import logging
from collections.abc import Mapping

import anyio
from anyio.abc import TaskGroup

from coordinator.leader import Leader
from coordinator.observations import LeadEnd, LeaderLost, StoreRetry
from coordinator.office import Office
from protocol.errors import StoreUnavailable, TransportUnavailable

STAGGER_SECONDS = 0.05
"""How much later a coordinator stands for a run per run that it leads already: so runs spread out."""
LONGEST_PERIOD_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
COLLECT_SECONDS = 10.0
"""How long ended leads may wait for the garbage collector: it walks the rows of all others, too."""

_log = logging.getLogger(__name__)


class Elections:
    """Leaders of the runs that are led from here, and attempts to become more."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._leaders: dict[str, Leader] = {}
        self._standing: set[str] = set()
        self._active: dict[str, float] = {}
        """Runs that had not ended when the store was last asked, and when they were first seen."""
        self._pauses: dict[str, tuple[float, float]] = {}
        """By run that could not be led because of an error: until when it is left alone, and for how long."""
        self._withdrawn = False
        self._collected = -COLLECT_SECONDS
        self._garbage = False
        self._bell = anyio.Event()
        self.answered = False
        """Whether the store answered when it was last asked."""

    @property
    def leaders(self) -> Mapping[str, Leader]:
        """By run; some may still be loading."""
        return self._leaders

    def is_active(self, run: str) -> bool:
        """Whether a run had not ended when the store was last asked."""
        return run in self._leaders or run in self._active

    def unheard_of(self, since: float) -> list[str]:
        """Active runs led elsewhere, or by nobody yet, that were first seen after a moment."""
        return [run for run, seen in self._active.items() if seen > since and run not in self._leaders]

    def ring(self) -> None:
        """There may be a new run."""
        self._bell.set()

    def withdraw(self) -> None:
        """Gives up every lead and stands for none, until `come_back`."""
        self._withdrawn = True
        for leader in self._leaders.values():
            leader.resign()

    def come_back(self) -> None:
        self._withdrawn = False

    async def hold(self, tasks: TaskGroup) -> None:
        """Stands for every active run: at every bell, and often enough to notice a lease that ran out."""
        period = min(LONGEST_PERIOD_SECONDS, self._office.settings.liveness.lease_seconds / 5)
        while True:
            try:
                active = await self._office.store.runs(active=True)
            except StoreUnavailable:
                self.answered = False
                self._office.observers.notify(StoreRetry("", "runs"))
            else:
                self.answered = True
                now = anyio.current_time()
                self._active = {run: self._active.get(run, now) for run in active}
                self._pauses = {run: pause for run, pause in self._pauses.items() if run in self._active}
                for run in active:
                    if self._may_stand(run):
                        self._standing.add(run)
                        tasks.start_soon(self._stand, run, name=f"stand {run}")
            self._collect(anyio.current_time())
            with anyio.move_on_after(period):
                await self._bell.wait()
            self._bell = anyio.Event()

    def _collect(self, now: float) -> None:
        """Frees the rows of ended leads, which cancelled tasks hold in cycles.

        The collector would not come by itself: leaders keep their rows from it with `gc.freeze`, which
        also resets the counts that make it run.
        """
        if self._garbage and now - self._collected >= COLLECT_SECONDS:
            self._garbage, self._collected = False, now
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _may_stand(self, run: str) -> bool:
        if self._withdrawn:
            return False
        until, _ = self._pauses.get(run, (0.0, 0.0))
        return run not in self._leaders and run not in self._standing and anyio.current_time() >= until

    async def _stand(self, run: str) -> None:
        """Tries once to become the leader of a run, and leads it to the end of the lead.

        An error in one run is reported and must not end the others: the run is left alone for a while.
        """
        office = self._office
        token = office.clock.token()
        try:
            await self._let_others_go_first()
            if await office.store.acquire(run, token, ttl_seconds=office.settings.liveness.lease_seconds):
                await self._lead(run, token)
                self._pauses.pop(run, None)
        except* (StoreUnavailable, TransportUnavailable):
            office.observers.notify(StoreRetry(run, "lead"))
        except* Exception as errors:  # noqa: BLE001 - recorded, and the run is tried again later
            self._leave_alone(run, errors)
        finally:
            self._standing.discard(run)

    def _leave_alone(self, run: str, errors: BaseExceptionGroup[Exception]) -> None:
        _, last = self._pauses.get(run, (0.0, 0.0))
        pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * last))
        self._pauses[run] = anyio.current_time() + pause, pause
        self._office.observers.notify(LeaderLost(run, "failed"))
        _log.error("run %s cannot be led; trying again in %g s", run, pause, exc_info=errors)

    async def _let_others_go_first(self) -> None:
        """Waits by the number of runs led from here, those won while waiting included."""
        began, draw = anyio.current_time(), self._office.clock.draw()
        while True:
            left = began + STAGGER_SECONDS * (len(self._leaders) + draw) - anyio.current_time()
            if left <= 0:
                return
            await anyio.sleep(left)

    async def _lead(self, run: str, token: str) -> None:
        """Leads; after a rollback at once again, for nobody knows better how much the store has lost."""
        office = self._office
        while await self._lead_once(run, token) == "rolled_back":
            token = office.clock.token()
            if not await office.store.acquire(run, token, ttl_seconds=office.settings.liveness.lease_seconds):
                return

    async def _lead_once(self, run: str, token: str) -> LeadEnd:
        leader = self._leaders[run] = Leader(self._office, run, token)
        try:
            return await leader.lead()
        finally:
            self._office.heads.note(run, leader.head)
            del self._leaders[run]
            with anyio.move_on_after(1, shield=True):
                await self._release(run, token)
            self._garbage = True

    async def _release(self, run: str, token: str) -> None:
        try:
            await self._office.store.release(run, token)
        except StoreUnavailable:
            self._office.observers.notify(StoreRetry(run, "release"))
