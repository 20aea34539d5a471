"""Breadth-first search of every state of the small world, and whether the end can be reached from each.

Coordinators are interchangeable, and workers are: of states that differ only in names, one is visited.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time

from tests.model.parts import COORDINATORS, WORKERS, Leading, Message
from tests.model.runs import OTHER, Violation
from tests.model.world import Step, World


@dataclass(frozen=True)
class Found:
    """What a search has seen. `complete`: there are no more states within the bounds."""

    states: int
    transitions: int
    depth: int
    complete: bool
    runs: int
    decisions: int
    seconds: float
    """Of computing."""


class Counterexample(AssertionError):
    """The shortest way to what must not be."""


class Symmetry:
    """Exchanges the names of the two workers in a state, part by part."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._leading: dict[int, int] = {}
        self._buses: dict[int, int] = {}

    def canonical(self, state: tuple[int, ...]) -> tuple[int, ...]:
        """One name for all states that differ only in who is called what."""
        if state[4] < state[5]:
            return _sorted(state)
        other = self._exchanged(state)
        return _sorted(other) if state[4] > state[5] else min(_sorted(state), _sorted(other))

    def _exchanged(self, state: tuple[int, ...]) -> tuple[int, ...]:
        run, owner, first, second, worker1, worker2, bus, faults = state
        run, bus = self._world.runs.swapped(run), self._bus(bus)
        return run, owner, self._leads(first), self._leads(second), worker2, worker1, bus, faults

    def _leads(self, number: int) -> int:
        other = self._leading.get(number)
        if other is None:
            parts = self._world.leading
            leading: Leading | None = parts.known[number]
            if leading is not None:
                effects = tuple(map(_renamed, leading.effects))
                leading = leading._replace(run=self._world.runs.swapped(leading.run), effects=effects)
            other = self._leading[number] = parts.number(leading)
            self._leading[other] = number
        return other

    def _bus(self, number: int) -> int:
        other = self._buses.get(number)
        if other is None:
            parts = self._world.buses
            other = self._buses[number] = parts.number(frozenset(map(_renamed, parts.known[number])))
            self._buses[other] = number
        return other


def _sorted(state: tuple[int, ...]) -> tuple[int, ...]:
    """The coordinators in the order of their numbers."""
    run, owner, first, second, *rest = state
    if first > second or (first == second and owner == 2):
        return run, (0, 2, 1)[owner], second, first, *rest
    return state


def _renamed(message: Message) -> Message:
    return message._replace(worker=OTHER.get(message.worker, ""))


def search(world: World, *, at_most: int) -> Found:
    """Visits states in the order of their distance, at most so many, then looks whether all can end.

    :raises Counterexample:
    """
    began = process_time()
    canonical = Symmetry(world).canonical
    states = [canonical(world.start())]
    numbers = {states[0]: 0}
    parents = array("l", [-1])
    depths = bytearray(1)
    offsets, onward = array("L", [0]), array("L")
    transitions = at = 0
    while at < min(len(states), at_most):
        state = states[at]
        if not world.ended(state):
            try:
                steps = world.steps(state)
            except Violation as violation:
                raise _counterexample(world, states, parents, at, violation) from None
            transitions += len(steps)
            depth = depths[at] + 1
            for _, _, _, fault, reached in steps:
                after = canonical(reached)
                number = numbers.get(after)
                if number is None:
                    number = numbers[after] = len(states)
                    states.append(after)
                    parents.append(at)
                    depths.append(depth)
                if not fault:
                    onward.append(number)
        offsets.append(len(onward))
        at += 1
    stuck = _stuck(world, states, at, offsets, onward)
    if stuck is not None:
        reason = Violation("no way leads to the run's end from here, though the faults have stopped")
        raise _counterexample(world, states, parents, stuck, reason)
    return Found(
        at, transitions, depths[at - 1], at == len(states), len(world.runs.known),
        world.runs.decided, process_time() - began,
    )  # fmt: skip


def _stuck(world: World, states: list, looked_at: int, offsets: array, onward: array) -> int | None:
    """The first state from which no end can be reached without a fault; states not looked at may end.

    In a finite graph, under strong fairness, a state from which the end can always be reached ends.
    """
    ends = bytearray(len(states))
    for number in range(len(states)):
        ends[number] = number >= looked_at or world.ended(states[number])
    changed = True
    while changed:
        changed = False
        for number in range(looked_at - 1, -1, -1):
            if not ends[number]:
                for after in onward[offsets[number] : offsets[number + 1]]:
                    if ends[after]:
                        ends[number] = changed = True
                        break
    return next((number for number in range(looked_at) if not ends[number]), None)


def _counterexample(
    world: World, states: list, parents: array, at: int, violation: Violation
) -> Counterexample:
    """Plays the way to a state again, with the names that it has from the start on."""
    way = [at]
    while parents[way[-1]] >= 0:
        way.append(parents[way[-1]])
    canonical = Symmetry(world).canonical
    state, steps = tuple(world.start()), list[Step]()
    for number in reversed(way[:-1]):
        steps.append(next(step for step in world.steps(state) if canonical(step[4]) == states[number]))
        state = steps[-1][4]
    return Counterexample(drawn(steps, violation))


def drawn(steps: Sequence[Step], violation: Violation) -> str:
    """A way to a violation as a diagram of its sequence."""
    lines = [_line("", "", ""), *(_line(who, to, what) for who, to, what, _, _ in steps)]
    return "\n".join([f"{violation}\n", *lines, f"\nafter {len(steps)} steps: {violation}"])


LANES = (*COORDINATORS, "store", "bus", *WORKERS)
WIDTH = 7


def _line(who: str, to: str, what: str) -> str:
    """One line of a sequence diagram; its head for nobody."""
    if not who:
        return "".join(name.center(WIDTH) for name in LANES)
    first, last = sorted((LANES.index(who), LANES.index(to)))
    cells = ["|".center(WIDTH) for _ in LANES]
    line = list("".join(cells))
    start, end = first * WIDTH + WIDTH // 2, last * WIDTH + WIDTH // 2
    for place in range(start, end):
        line[place] = "-"
    line[LANES.index(who) * WIDTH + WIDTH // 2] = "o"
    if who != to:
        line[LANES.index(to) * WIDTH + WIDTH // 2] = ">" if LANES.index(to) > LANES.index(who) else "<"
    return "".join(line) + f"  {who} {what}"
