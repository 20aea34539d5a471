"""What this worker holds. The main loop writes it, the pulse's thread reads it.

A slot is taken from the delivery of a task message until its claim fails or its run ends. A lease is
held from the grant until the receipt of its discovery.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from agents.identity import Identity
from protocol.messages import Held, SwarmHeartbeat

State = Literal["running", "finished", "stopping"]
Status = Literal["alive", "busy", "draining", "error"]


class Holding:
    """A lease in this worker's hands. `progress` only grows.

    One that is `lost` is listed until what runs under it has ended, in a thread that nothing can stop too.
    `over` is written by the loop and read by the thread, `in_thread` the other way round: whoever comes
    second sees what the other wrote.
    """

    __slots__ = ("finished", "in_thread", "lost", "over", "progress", "run", "task", "token")

    def __init__(self, run: str, task: str, token: str) -> None:
        self.run = run
        self.task = task
        self.token = token
        self.progress = 0
        self.finished = False
        self.lost = False
        self.over = False
        self.in_thread = False

    @property
    def state(self) -> State:
        if self.finished:
            return "finished"
        return "stopping" if self.lost else "running"


class Ledger:
    """Slots, claims and leases of one incarnation."""

    def __init__(
        self,
        identity: Identity,
        agents: Sequence[str],
        slots: int,
        builds: Mapping[str, tuple[str, ...]] = {},
    ) -> None:
        self.identity = identity
        self.agents = tuple(agents)
        self.builds = builds
        self.slots = slots
        self.draining = False
        self.choked = False
        """Too many discoveries wait for their receipts: nothing new is begun."""
        self.changes = 0
        """Grows with every change of what a beat says."""
        self.taken = 0
        self._lock = threading.Lock()
        self._held: dict[str, Holding] = {}
        self._claims = 0
        self._open_claims: set[int] = set()
        self._completed = 0
        self._failed = 0
        self._dated_ms = 0
        """Of the last beat: the next one is dated later, also when the clock was set back."""

    @property
    def free_slots(self) -> int:
        return 0 if self.draining or self.choked else max(0, self.slots - self.taken)

    def take_slot(self) -> None:
        self.taken += 1

    def free_slot(self) -> None:
        self.taken -= 1
        self.changes += 1

    def holds(self, token: str) -> bool:
        return token in self._held

    def open_claim(self) -> int:
        """The number of a claim request that is about to leave."""
        with self._lock:
            self._claims += 1
            self._open_claims.add(self._claims)
            return self._claims

    def close_claim(self, number: int, granted: Iterable[Holding] = ()) -> None:
        """A claim request was answered with these grants, or given up: no beat sees one without the other."""
        with self._lock:
            for holding in granted:
                self._held[holding.token] = holding
            self._open_claims.discard(number)
            self.changes += 1

    def finish(self, token: str, *, well: bool | None) -> None:
        """The run ended (None: suspended); the lease is listed as finished until its receipt."""
        with self._lock:
            holding = self._held.get(token)
            if holding is not None:
                holding.finished = True
            self._completed += well is True
            self._failed += well is False
            self.changes += 1

    def lose(self, token: str) -> None:
        """The lease moved on; what runs under it is told to stop."""
        with self._lock:
            holding = self._held.get(token)
            if holding is not None:
                holding.lost = True
            self.changes += 1

    def stopped(self, holding: Holding) -> None:
        """The run under a lost lease has ended. A thread may go on: then a later beat drops the lease."""
        with self._lock:
            holding.over = True
            self._drop_stopped()
            self.changes += 1

    def _drop_stopped(self) -> None:
        gone = [one.token for one in self._held.values() if one.over and not one.in_thread]
        for token in gone:
            del self._held[token]

    def forget(self, token: str) -> None:
        """The lease is settled or lost."""
        with self._lock:
            self._held.pop(token, None)
            self.changes += 1

    def beat(self) -> SwarmHeartbeat:
        with self._lock:
            self._drop_stopped()
            held = tuple(
                Held.model_construct(
                    task=one.task,
                    token=one.token,
                    run=one.run,
                    progress=one.progress,
                    state=one.state,
                )
                for one in self._held.values()
            )
            through = min(self._open_claims) - 1 if self._open_claims else self._claims
            completed, failed = self._completed, self._failed
            self._dated_ms = max(self._dated_ms + 1, self.identity.wall_ms())
            dated_ms = self._dated_ms
        return SwarmHeartbeat(
            worker=self.identity.worker,
            incarnation=self.identity.incarnation,
            status=self._status(),
            agents=self.agents,
            slots=self.slots,
            held=held,
            claims_through=through,
            completed=completed,
            failed=failed,
            load=min(1.0, self.taken / self.slots),
            version=self.identity.version,
            builds=dict(self.builds),
            sent_ms=dated_ms,
        )

    def _status(self) -> Status:
        if self.draining:
            return "draining"
        if self.choked:
            return "error"
        return "alive" if self.free_slots else "busy"
