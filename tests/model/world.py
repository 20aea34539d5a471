"""A small world around the production decisions: one run, two coordinators, two workers, a bus, a store.

A state is a tuple of numbers of interned parts. A coordinator decides commands on its tentative run, appends
them, and only then lets the effects out: three steps, so that it may die between any two. The store takes
an append as the in-memory store's own check says. The bus is a set of messages without an order; any may get
lost, or be delivered and stay. Tokens never repeat. Time does not pass: what waits for time may happen at
any moment. Journals, waits, artifacts and a store that comes back older are not in this world.
"""

from collections.abc import Callable, Hashable
from functools import partial

from coordinator.decision import Command, Conclude, Lead, Loss, Lost, Redispatch, Sweep, Visit
from coordinator.liveness import Fleet, Patience
from tests.model.parts import (
    WORKERS,
    Bounds,
    Leading,
    Message,
    Parts,
    State,
    Worker,
    beat,
    command,
    messages,
    result,
)
from tests.model.rules import Once, admits, check_true, heard, left_after
from tests.model.runs import Runs, Violation

BUS, DIES = 1, 2
"""Kinds of faults: messages lost, repeated or late; and deaths and pauses of processes."""
Step = tuple[str, str, str, int, tuple[int, ...]]
"""Who, to whom, what, the kind of fault (0 for none), and the state after."""


_LEASES = ((0, 0), (1, 2), (2, 1))
"""By owner, how the lease looks to the first and the second: nobody's (0), its own (1), the other's (2)."""


class World:
    """What may happen next. Steps of a part are computed once per combination of the parts concerned."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.runs = Runs(bounds.spec)
        self.leading = Parts(None)
        self.workers = Parts(Worker())
        self.buses = Parts(frozenset())
        self._lost = Once(self._losses)
        self._worked = Once(self._work)
        self._led = Once(self._lead)
        self._talked = Once(self._talk)
        self._awaited = Once(self._answers)
        self._claims = Once(self._claimed)
        self._admitted = Once(admits)
        self._reads_store = Once(self._needs_store)
        self._left = [left_after(number, bounds.bus_faults + 1) for number in range(self._all_faults() + 1)]
        self._agents = tuple(agent.name for agent in bounds.spec.agents)

    def start(self) -> State:
        return State(self.runs.first, 0, 0, 0, 0, 0, 0, self._all_faults())

    def _all_faults(self) -> int:
        return self.bounds.crashes * (self.bounds.bus_faults + 1) + self.bounds.bus_faults

    def ended(self, state: tuple[int, ...]) -> bool:
        return self.runs.known[state[0]].ended

    def steps(self, state: tuple[int, ...]) -> list[Step]:
        """:raises Violation: for a step that must not be possible."""
        run, owner, first, second, worker1, worker2, bus, faults = state
        left = self._left[faults]
        awaited = self._awaited[first] | self._awaited[second]
        own1, own2 = _LEASES[owner]
        talk1 = run if self._reads_store[first] else 0
        talk2 = run if self._reads_store[second] else 0
        found: list[Step] = []
        for what, fault, after in self._lost[bus]:
            if left[fault] >= 0:
                now = (run, owner, first, second, worker1, worker2, after, left[fault])
                found.append(("bus", "bus", what, fault, now))
        for who, what, fault, mine, after, token in self._worked["w1", worker1, bus]:
            kind = BUS if token and (who, token) in awaited else fault
            if left[kind] >= 0:
                now = (run, owner, first, second, mine, worker2, after, left[kind])
                found.append((who, "bus", what, kind, now))
        for who, what, fault, mine, after, token in self._worked["w2", worker2, bus]:
            kind = BUS if token and (who, token) in awaited else fault
            if left[kind] >= 0:
                now = (run, owner, first, second, worker1, mine, after, left[kind])
                found.append((who, "bus", what, kind, now))
        for to, what, fault, after, lease, mine, other in self._led[
            run, own1, first, second, worker1, worker2
        ]:
            if left[fault] >= 0:
                whose = owner if lease == own1 else lease
                now = (after, whose, mine, other, worker1, worker2, bus, left[fault])
                found.append(("c1", to, what, fault, now))
        for to, what, fault, after, lease, mine, other in self._led[
            run, own2, second, first, worker1, worker2
        ]:
            if left[fault] >= 0:
                whose = owner if lease == own2 else lease * 2
                now = (after, whose, other, mine, worker1, worker2, bus, left[fault])
                found.append(("c2", to, what, fault, now))
        for to, what, fault, mine, after, token in self._talked[first, bus, talk1]:
            kind = BUS if token and token in (self._claims[worker1], self._claims[worker2]) else fault
            if left[kind] >= 0:
                now = (run, owner, mine, second, worker1, worker2, after, left[kind])
                found.append(("c1", to, what, kind, now))
        for to, what, fault, mine, after, token in self._talked[second, bus, talk2]:
            kind = BUS if token and token in (self._claims[worker1], self._claims[worker2]) else fault
            if left[kind] >= 0:
                now = (run, owner, first, mine, worker1, worker2, after, left[kind])
                found.append(("c2", to, what, kind, now))
        return found

    def _answers(self, number: int) -> frozenset[tuple[str, str]]:
        """Workers and tokens that a leader is about to answer."""
        leading: Leading | None = self.leading.known[number]
        return (
            frozenset() if leading is None else frozenset((one.worker, one.token) for one in leading.effects)
        )

    def _claimed(self, number: int) -> str:
        """The token that a worker claims."""
        worker: Worker = self.workers.known[number]
        return worker.token if worker.doing == "claims" else ""

    def _needs_store(self, number: int) -> bool:
        """Whether what a coordinator says next is compared with the store."""
        leading: Leading | None = self.leading.known[number]
        return leading is not None and (leading.appended or not self.bounds.effects_wait)

    def _losses(self, bus: int) -> list:
        sent: frozenset[Message] = self.buses.known[bus]
        return [(f"loses the {one}", BUS, self.buses.number(sent - {one})) for one in sorted(sent)]

    def _work(self, name: str, number: int, bus: int) -> list:
        """What a worker may do."""
        worker: Worker = self.workers.known[number]
        sent: frozenset[Message] = self.buses.known[bus]
        found: list = []

        def add(what: str, after: Worker, now: frozenset[Message], fault: int = 0, waits: str = "") -> None:
            found.append((name, what, fault, self.workers.number(after), self.buses.number(now), waits))

        claim = Message("claim", worker.task, worker.token, name, worker.incarnation)
        for one in sorted(sent):
            after = heard(name, worker, one)
            if after is not None:
                claims = [claim._replace(task=one.task, token=one.token)] if one.kind == "task" else []
                add(f"takes the {one}", after, self._put(sent - {one}, *claims))
                add(f"takes the {one}, which stays", after, self._put(sent, *claims), BUS)
        early = BUS * any(one.token == worker.token and one.worker == name for one in sent)
        if worker.doing == "claims":
            task = Message("task", worker.task, worker.token)
            add("gives up its claim", Worker(worker.incarnation), self._put(sent, task), early, worker.token)
        elif worker.doing == "runs":
            for outcome in self.bounds.outcomes:
                done = worker._replace(doing=outcome)
                add(f"publishes its result: {outcome}", done, self._put(sent, result(name, done)))
        elif worker.doing != "idle" and result(name, worker) not in sent:
            add(
                "publishes its result again",
                worker,
                self._put(sent, result(name, worker)),
                early,
                worker.token,
            )
        add("dies, and starts again", Worker(worker.incarnation + 1), sent, DIES)
        return found

    def _put(self, sent: frozenset[Message], *more: Message) -> frozenset[Message]:
        """The bus with more messages. Where there is no room, a task message is lost, else the new one."""
        for one in more:
            if one not in sent and len(sent) >= self.bounds.bus:
                sent -= {max(sent)} if max(sent).kind == "task" else {one}
            if len(sent) < self.bounds.bus:
                sent |= {one}
        return sent

    def _lead(self, run: int, lease: int, number: int, other: int, worker1: int, worker2: int) -> list:
        """What a coordinator may do about its lead. `lease`: nobody's (0), its own (1), another's (2)."""
        leading: Leading | None = self.leading.known[number]
        found: list = []

        def add(to: str, what: str, mine: Leading | None, fault: int = 0, *, lease: int = lease) -> None:
            found.append((to, what, fault, run, lease, self.leading.number(mine), other))

        if leading is None:
            if lease == 1:
                add("store", "is gone, and its lease runs out", None, lease=0)
            elif lease == 0 and not self.runs.known[run].ended:
                led, _ = self.runs.decide(run, "lead", partial(Lead, "c"))
                add("store", "takes the lead", Leading(True, False, 1, led), lease=1)
            return found
        add("store", "dies, and starts again", None, DIES)
        if lease == 1:
            add("store", "is paused, and its lease runs out", leading, DIES, lease=0)
        if leading.commands and not leading.appended:
            found.append(self._appended(run, lease, leading, other))
        for what, fault, mine in self._swept(leading, worker1, worker2):
            add("store", what, mine, fault)
        return found

    def _appended(self, run: int, lease: int, leading: Leading, other: int) -> tuple:
        """:raises Violation: when the store takes what it must not take."""
        owns = lease == 1
        if not self._admitted[owns, leading.current]:
            return "store", "appends, and is refused: it leads no more", 0, run, lease, 0, other
        if not (owns and leading.current):
            raise Violation("the store takes an append under a stale token or on a stale head")
        mine = self.leading.number(leading._replace(appended=True, commands=0))
        behind: Leading | None = self.leading.known[other]
        if behind is not None:
            other = self.leading.number(behind._replace(current=False))
        return "store", "appends", 0, leading.run, lease, mine, other

    def _talk(self, number: int, bus: int, store: int) -> list:
        """What a leader may say and hear."""
        leading: Leading | None = self.leading.known[number]
        if leading is None:
            return []
        if leading.appended:
            what = f"lets out: {', '.join(map(str, leading.effects)) or 'nothing'}"
            now = self._sent(self.buses.known[bus], leading.effects, store)
            rest = leading._replace(appended=False, effects=())
            return [("bus", what, 0, self.leading.number(rest), now, "")]
        return [
            ("bus", what, fault, self.leading.number(mine), after, token)
            for what, fault, mine, after, token in self._decided(leading, bus, store)
        ]

    def _sent(self, sent: frozenset[Message], effects: tuple[Message, ...], run: int) -> int:
        """The bus with what a leader lets out."""
        for one in effects:
            check_true(one, self.runs.known[run].tasks)
        return self.buses.number(self._put(sent, *effects))

    def _decided(self, leading: Leading, bus: int, store: int) -> list:
        """Commands of a leader's own, and those that messages bring."""
        sent: frozenset[Message] = self.buses.known[bus]
        known = self.runs.known[leading.run]
        found: list = []

        def add(
            what: str, key: Hashable, make: Callable[[], Command], left: frozenset[Message] = sent
        ) -> None:
            mine, said = self._next(leading, key, make)
            if mine.run == leading.run and not said and left == sent:
                return
            now = self.buses.number(left)
            if not self.bounds.effects_wait:
                mine, now = mine._replace(effects=()), self._sent(left, said, store)
            found.append((what, 0 if left != sent else BUS * (key in sent), mine, now, ""))

        if leading.commands < self.bounds.group:
            if known.run.state.busy.total() < len(WORKERS):
                add("dispatches again", "again", partial(Redispatch, dict.fromkeys(self._agents, 1), 1))
                for agent in self._agents:
                    add(f"visits a direction of {agent}", agent, partial(Visit, agent))
            add("concludes", "conclude", Conclude)
            for one in sorted(sent):
                if one.kind in ("claim", "result"):
                    make = partial(command, self.bounds.spec.run, one)
                    add(f"takes the {one}", one, make, sent - {one})
                    add(f"takes the {one}, which stays", one, make)
                    self._check_fence(leading, one, make)
        if not leading.commands:
            for task in known.tasks.values():
                again = Message("task", task.id, task.token)
                if task.status == "dispatched" and again not in sent:
                    early = BUS * any(one.token == task.token for one in sent)
                    now = self.buses.number(self._put(sent, again))
                    found.append((f"publishes the {again} again", early, leading, now, task.token))
        return found

    def _next(
        self, leading: Leading, key: Hashable, make: Callable[[], Command]
    ) -> tuple[Leading, tuple[Message, ...]]:
        run, effects = self.runs.decide(leading.run, key, make)
        said = messages(effects)
        more = leading._replace(commands=leading.commands + 1, run=run, effects=(*leading.effects, *said))
        return more, said

    def _check_fence(self, leading: Leading, one: Message, make: Callable[[], Command]) -> None:
        """:raises Violation: when a message under a stale token changes anything, or is told that it did."""
        task = self.runs.known[leading.run].tasks.get(one.task)
        if task is not None and task.token == one.token:
            return
        run, effects = self.runs.decide(leading.run, one, make)
        if run != leading.run:
            raise Violation(f"the {one} is accepted, though the task's token is another")
        for said in messages(effects):
            if said.kind in ("grant", "settled"):
                raise Violation(f"the {one} is answered as {said.kind}, though the task's token is another")

    def _swept(self, leading: Leading, worker1: int, worker2: int) -> list:
        """Leases of workers that restarted or no longer list them; and workers taken for silent."""
        if leading.commands >= self.bounds.group or leading.appended:
            return []
        fleet = Fleet(Patience())
        for name, worker in zip(WORKERS, (worker1, worker2), strict=True):
            for _ in range(2):
                fleet.heard(beat(name, self.workers.known[worker], self.bounds.spec.run), 0.0)
        run = self.runs.known[leading.run].run
        sweeps = [(0, fleet.lost(run.state, 0.0, 0.0))]
        for name, held in run.state.held.items():
            loss = Loss("silent", f"{name} was silent")
            incarnation = run.state.tasks[next(iter(held))].incarnation or ""
            sweeps.append((DIES, [Lost(name, incarnation, dict.fromkeys(held, loss))]))
        found = []
        for fault, lost in sweeps:
            if lost:
                losses = (
                    (one.worker, one.incarnation, task, loss.cause)
                    for one in lost
                    for task, loss in one.tasks.items()
                )
                key = ("sweep", *losses)
                mine, _ = self._next(leading, key, partial(Sweep, lost))
                reasons = sorted({loss.reason for one in lost for loss in one.tasks.values()})
                found.append((f"takes leases back: {'; '.join(reasons)}", fault, mine))
        return found
