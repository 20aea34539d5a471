"""Who is alive: what heartbeats say, judged by the monotonic clock of the coordinator that received them.

Pure: every method takes the time. One fleet serves all runs of a coordinator.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from blackboard.state import RunState, TaskRow
from coordinator.decision import Loss, Lost
from protocol.messages import Lease, SwarmHeartbeat

SUPERSEDED_LIMIT = 100
"""Incarnations of one worker that are remembered as replaced."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long absence is borne, in seconds.

    `silence`: a worker that did not beat for so long loses its tasks. `grace`: how long after
    taking a lead an unheard-of worker may keep quiet.
    """

    silence_seconds: float = 90
    grace_seconds: float = 15


@dataclass(slots=True)
class _Pulse:
    beat: SwarmHeartbeat
    heard: float
    before: SwarmHeartbeat | None = None
    """The beat before, if it was of the same incarnation and received by this coordinator."""


@dataclass(slots=True)
class Fleet:
    """The newest beats of all workers."""

    patience: Patience
    _pulses: dict[str, _Pulse] = field(default_factory=dict[str, _Pulse])
    _claims: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    """Of workers whose incarnation has not beaten yet: which it is, and when it last claimed something."""
    _superseded: dict[str, deque[str]] = field(default_factory=dict[str, deque[str]])

    def heard(self, beat: SwarmHeartbeat, now: float) -> None:
        """Takes in a beat just received. An incarnation dates each beat later than the one before: one that
        is dated earlier was overtaken, and says only that the worker lives. Of another incarnation it says
        nothing while the known one is heard; then the worker has restarted, and its clock is behind.
        """
        if self.superseded(beat.worker, beat.incarnation):
            return
        known = self._pulses.get(beat.worker)
        if known is not None and beat.sent_ms < known.beat.sent_ms:
            if beat.incarnation == known.beat.incarnation:
                known.heard = now
                return
            if now - known.heard < self.patience.grace_seconds:
                return
        if self._claims.get(beat.worker, ("", 0.0))[0] == beat.incarnation:
            del self._claims[beat.worker]
        same = known is not None and known.beat.incarnation == beat.incarnation
        if known is not None and not same:
            older = self._superseded.setdefault(beat.worker, deque(maxlen=SUPERSEDED_LIMIT))
            older.append(known.beat.incarnation)
        self._pulses[beat.worker] = _Pulse(beat, now, known.beat if known is not None and same else None)

    def superseded(self, worker: str, incarnation: str) -> bool:
        """Whether a later incarnation was heard under the worker's name: this one has no say any more.

        Two processes under one name would otherwise take each other's tasks back for ever.
        """
        return incarnation in self._superseded.get(worker, ())

    def claimed(self, worker: str, incarnation: str, now: float) -> None:
        """Takes note of a claim: whoever claims before his first beat has the silence limit for it."""
        pulse = self._pulses.get(worker)
        if pulse is None or pulse.beat.incarnation != incarnation:
            self._claims[worker] = incarnation, now

    def stored(self, beat: SwarmHeartbeat, now: float, age_seconds: float) -> None:
        """Takes in a beat that the bus had kept; it says that the worker lived, not what it holds now."""
        if beat.worker not in self._pulses and age_seconds < self.patience.silence_seconds:
            self._pulses[beat.worker] = _Pulse(beat, now - max(age_seconds, 0))

    def forget(self, now: float) -> None:
        """Drops workers that have been silent for twice the limit."""
        gone = [
            name
            for name, pulse in self._pulses.items()
            if now - pulse.heard > 2 * self.patience.silence_seconds
        ]
        for name in gone:
            del self._pulses[name]
            self._superseded.pop(name, None)
        self._claims = {
            name: claim
            for name, claim in self._claims.items()
            if now - claim[1] < 2 * self.patience.silence_seconds
        }

    def beats(self, now: float) -> Mapping[str, tuple[SwarmHeartbeat, float]]:
        """The newest beat of each worker and its age in seconds."""
        return {name: (pulse.beat, now - pulse.heard) for name, pulse in self._pulses.items()}

    def alive(self, now: float) -> Iterable[SwarmHeartbeat]:
        """Beats of the workers that may be given work."""
        limit = self.patience.silence_seconds
        return (
            pulse.beat
            for pulse in self._pulses.values()
            if now - pulse.heard < limit and pulse.beat.status in ("alive", "busy")
        )

    def lost(self, state: RunState, now: float, lead_since: float) -> list[Lost]:
        """Leases of a run whose holder is silent, has restarted, or no longer lists them."""
        losses: dict[tuple[str, str], dict[str, Loss]] = {}
        for worker, tasks in state.held.items():
            for identity in tasks:
                task = state.tasks[identity]
                loss = self._loss(worker, task, now, lead_since)
                if loss is not None:
                    losses.setdefault((worker, task.incarnation or ""), {})[identity] = loss
        return [Lost(worker, incarnation, tasks) for (worker, incarnation), tasks in losses.items()]

    def _loss(self, worker: str, task: TaskRow, now: float, lead_since: float) -> Loss | None:
        pulse, graced = self._pulses.get(worker), now - lead_since < self.patience.grace_seconds
        if pulse is not None and pulse.beat.incarnation == task.incarnation:
            return self._silent(worker, pulse, now) or _forgotten(pulse, task)
        if self._announced(worker, task, now):
            return None
        if pulse is None:
            return None if graced else Loss("silent", f"worker {worker} has not been heard of")
        return self._silent(worker, pulse, now) or self._restarted(pulse, task, graced)

    def _silent(self, worker: str, pulse: _Pulse, now: float) -> Loss | None:
        if now - pulse.heard >= self.patience.silence_seconds:
            return Loss("silent", f"worker {worker} was silent for {self.patience.silence_seconds:g} s")
        return None

    def _announced(self, worker: str, task: TaskRow, now: float) -> bool:
        """Whether the incarnation that holds a task has claimed something here: its first beat is awaited."""
        incarnation, claimed = self._claims.get(worker, ("", 0.0))
        return incarnation == task.incarnation and now - claimed < self.patience.silence_seconds

    def _restarted(self, pulse: _Pulse, task: TaskRow, graced: bool) -> Loss | None:
        """Another incarnation beats than holds the task. Which is the newer, two clocks say at once, if they
        agree; what was heard of the other one here, or that it keeps quiet, says it whatever they say.
        """
        worker = pulse.beat.worker
        replaced = not graced or self.superseded(worker, task.incarnation or "")
        restarted = replaced or pulse.beat.sent_ms >= task.claimed_ms
        return Loss("restarted", f"worker {worker} restarted") if restarted else None


def _forgotten(pulse: _Pulse, task: TaskRow) -> Loss | None:
    if pulse.before is not None and _unlisted(pulse.beat, task) and _unlisted(pulse.before, task):
        return Loss("unlisted", f"worker {pulse.beat.worker} no longer holds it")
    return None


def _unlisted(beat: SwarmHeartbeat, task: TaskRow) -> bool:
    """Whether a beat that covers the lease's claim leaves the lease out."""
    if beat.claims_through < task.grant:
        return False
    return all(
        (held.task, held.token) != (task.id, task.token) or held.state == "stopping" for held in beat.held
    )


def stopped(beat: SwarmHeartbeat, state: RunState) -> list[str]:
    """Cancelled tasks of a run that a worker's beat shows to have ended there.

    The beat must come from the process that held the task, and cover the claim: else the grant may
    still be on its way.
    """
    held = {lease.task for lease in beat.held}
    return [
        task.id
        for task in (state.tasks[identity] for identity in state.stopping)
        if (task.worker, task.incarnation) == (beat.worker, beat.incarnation)
        and task.id not in held
        and beat.claims_through >= task.grant
    ]


def superfluous(beat: SwarmHeartbeat, state: RunState) -> list[Lease]:
    """Leases that a worker lists but no longer has in this run: it should drop them."""
    leases: list[Lease] = []
    for held in beat.held:
        if held.run != state.spec.run or held.state != "running":
            continue
        task = state.tasks.get(held.task)
        if task is None or task.token != held.token or task.status != "running":
            leases.append(Lease(task=held.task, token=held.token))
    return leases
