"""A run on a table: the production decisions without store, bus or clock, and everything that they said."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from blackboard import events as ev
from blackboard.events import Event
from blackboard.evolve import begin, fold
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import OPEN, RunState, TaskRow, snapshot
from coordinator.decide import decide
from coordinator.decision import (
    AnswerClaim,
    Claim,
    Command,
    Commit,
    Conclude,
    Decision,
    Effect,
    Env,
    Lead,
    Redispatch,
    SendReceipt,
    SendRefusal,
    Visit,
)
from coordinator.run import Run
from protocol.messages import (
    ClaimRequest,
    FollowUp,
    Lease,
    SwarmDiscovery,
)

RUN = "run-1"


class Receipt(NamedTuple):
    """What a worker was told of its discovery."""

    verdict: str
    reason: str = ""


def spec(**changes: object) -> RunSpec:
    """A run with one explored agent, one that artifacts trigger, and one that finishes."""
    fields: dict[str, object] = {
        "run": RUN,
        "goal": "find out",
        "agents": (
            AgentSpec(name="explore", publishes=("passage",)),
            AgentSpec(name="verify", trigger="artifacts", consumes=("passage",), publishes=("finding",)),
            AgentSpec(name="report", trigger="finish", consumes=("finding",)),
        ),
        "roots": (FollowUp(agent="explore", topic="alpha"), FollowUp(agent="explore", topic="beta")),
        "budget": Budget(tasks=6),
    }
    return RunSpec.model_validate(fields | changes)


@dataclass
class Table:
    """Decides, applies, and keeps the log and the effects."""

    spec: RunSpec = field(default_factory=spec)
    now_ms: int = 1_000_000
    seed: int = 0
    log: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._claims = self._count()
        created = ev.RunCreated(at_ms=self.now_ms, spec=self.spec)
        self.log.append(created)
        self.run = Run.of(begin(created))
        self.do(Lead("coordinator-1"))

    @property
    def state(self) -> RunState:
        return self.run.state

    @staticmethod
    def _count() -> Iterator[int]:
        number = 0
        while True:
            number += 1
            yield number

    def env(self) -> Env:
        return Env(self.now_ms, lambda: f"{self._random.getrandbits(64):016x}", self._random.random)

    def do(self, command: Command) -> Decision:
        decision = decide(self.run, command, self.env())
        for event in decision.events:
            self.run.apply(event)
        self.log += decision.events
        self.effects += decision.effects
        return decision

    def dispatch(self, agent: str = "explore") -> Lease | None:
        """One dispatch of the agent's: what is queued first, then a new visit."""
        again = self.do(Redispatch({agent: 1}, 1)).events
        events = again or self.do(Visit(agent)).events
        for event in events:
            if isinstance(event, ev.TaskDispatched):
                return Lease(task=event.task, token=event.token)
        return None

    def claim(
        self, *leases: Lease, worker: str = "w1", incarnation: str = "i1", number: int | None = None
    ) -> AnswerClaim:
        request = ClaimRequest(
            worker=worker, incarnation=incarnation, number=number or next(self._claims), leases=leases
        )
        answer = self.do(Claim(request, "source")).effects[-1]
        assert isinstance(answer, AnswerClaim)
        return answer

    def commit(
        self, lease: Lease, *, worker: str = "w1", incarnation: str = "i1", **fields: object
    ) -> Receipt:
        discovery = SwarmDiscovery.model_validate(
            {"run": RUN, "worker": worker, "incarnation": incarnation, **lease.model_dump(), **fields}
        )
        receipt = self.do(Commit(discovery, "source")).effects[-1]
        if isinstance(receipt, SendRefusal):
            return Receipt("stale", receipt.refusal.reason)
        assert receipt == SendReceipt(worker, lease.task, lease.token)
        return Receipt("settled")

    def held(self, agent: str = "explore", *, worker: str = "w1", incarnation: str = "i1") -> Lease:
        """A task dispatched to, and claimed by, a worker."""
        lease = self.dispatch(agent)
        assert lease is not None
        assert self.claim(lease, worker=worker, incarnation=incarnation).granted == (lease,)
        return lease

    def conclude(self) -> list[Event]:
        return self.do(Conclude()).events

    def task(self, lease: Lease) -> TaskRow:
        return self.state.tasks[lease.task]

    def check(self) -> None:
        """What must hold after any sequence of commands."""
        folded = fold(self.log)
        assert snapshot(folded) == snapshot(self.state)
        assert folded.head == self.state.head == len(self.log)
        self._check_ends()
        self._check_statistics()
        self._check_indexes()

    def _check_ends(self) -> None:
        ended: set[str] = set()
        for event in self.log:
            if isinstance(event, ev.TaskSettled):
                assert event.task not in ended, "a task ended twice"
                ended.add(event.task)
            elif isinstance(event, ev.TasksRetried):
                assert ended.issuperset(event.tasks), "a task began again that had not ended"
                ended.difference_update(event.tasks)
        tokens = [event.token for event in self.log if isinstance(event, ev.TaskDispatched)]
        assert len(tokens) == len(set(tokens)), "a token was used twice"
        posted = [event.artifact.id for event in self.log if isinstance(event, ev.ArtifactPosted)]
        assert len(posted) == len(set(posted)), "an artifact was posted twice"

    def _check_statistics(self) -> None:
        """P6: the frontier's statistics are a recount of the settlements."""
        for direction in self.state.directions.values():
            tasks = [task for task in self.state.tasks.values() if task.direction == direction.id]
            told = [task for task in tasks if task.status in ("done", "failed", "dead")]
            assert direction.numbered == len(tasks)
            assert direction.visits == len(told)
            assert direction.expired == sum(task.status == "cancelled" for task in tasks)
            assert direction.in_flight == len(tasks) - direction.visits - direction.expired
            assert direction.reward_sum_micro == sum(task.reward_micro for task in told)
            assert direction.reward_squares == sum(task.reward_micro**2 for task in told)
            assert direction.reward_best_micro == max((task.reward_micro for task in told), default=0)
            assert direction.last_visit == max((task.visit for task in told), default=0)
            assert sum(direction.yields[::2]) == len(told)
            assert direction.cost_sum_micro == sum(task.usage.cost_microdollars or 0 for task in told)
        ended = Counter(task.status for task in self.state.tasks.values() if task.status not in OPEN)
        assert +Counter(self.state.totals.tasks) == ended

    def _check_indexes(self) -> None:
        state = self.state
        by_status: dict[str, set[str]] = {}
        for task in state.tasks.values():
            by_status.setdefault(task.status, set()).add(task.id)
        assert set(state.queued) == by_status.get("queued", set())
        assert set(state.dispatched) == by_status.get("dispatched", set())
        assert set(state.waiting) == by_status.get("waiting", set())
        assert {task for held in state.held.values() for task in held} == by_status.get("running", set())
        asked_to_stop = {task.id for task in state.tasks.values() if task.stop == "asked"}
        assert set(state.stopping) == asked_to_stop
        under_way = by_status.get("dispatched", set()) | by_status.get("running", set())
        assert state.busy.total() == len(under_way)
        for agent in self.spec.agents:
            rows = [row for row in state.directions.values() if row.agent == agent.name]
            assert state.choosable[agent.name] == sum(row.open for row in rows if row.inquiry is None)
        asked = {row.id for row in state.directions.values() if row.open and row.inquiry is not None}
        assert set(state.asked) == asked
        self._check_inquiries()

    def _check_inquiries(self) -> None:
        state = self.state
        opened = {row.id: row for row in state.inquiries.values() if row.open}
        assert {inquiry for asking in state.asking.values() for inquiry in asking} == set(opened)
        assert state.timers == {row.id: row.until_ms for row in opened.values() if row.until_ms is not None}
        tasks = {row.task for row in opened.values()}
        assert set(state.waiting) <= tasks, "a task waits for nothing"
        assert all(state.tasks[task].status not in ("done", "failed", "cancelled", "dead") for task in tasks)
