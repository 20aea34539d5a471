"""Walks through a large world, further than a search gets: with faults at first, then fairly without.

Without faults each possible step is as likely as any other, which is as fair as can be: a run that has not
ended after so many of them does not end.
"""

import random
from dataclasses import dataclass

from tests.model.runs import Violation
from tests.model.search import Counterexample, drawn
from tests.model.world import Step, World

FAULTY_SHARE = 0.1
"""Of the steps at first: there are more faults than other steps, and only a few may happen."""
FAULTY_STEPS = 60
PATIENCE = 2_000


@dataclass(frozen=True)
class Walked:
    """What came of some walks. `deepest`: steps with faults among them; `longest`: then to the end."""

    walks: int
    steps: int
    deepest: int
    longest: int


def walk(world: World, seeds: range) -> Walked:
    """A walk for each seed.

    :raises Counterexample: with the walk on which a promise broke, or that did not end.
    """
    found = [_one_walk(world, random.Random(seed)) for seed in seeds]
    steps = sum(faulty + fair for faulty, fair in found)
    return Walked(len(found), steps, max(one[0] for one in found), max(one[1] for one in found))


def _one_walk(world: World, chance: random.Random) -> tuple[int, int]:
    """How many steps it took with faults among them, and then without."""
    state, way = tuple(world.start()), list[Step]()
    faulty = chance.randrange(FAULTY_STEPS)
    while not world.ended(state):
        try:
            steps = world.steps(state)
        except Violation as violation:
            raise Counterexample(drawn(way, violation)) from None
        fair = [step for step in steps if not step[3]]
        faults = [step for step in steps if step[3]]
        if len(way) < faulty and faults and chance.random() < FAULTY_SHARE:
            fair = faults
        if not fair or len(way) > faulty + PATIENCE:
            said = f"the run has not ended, {len(way) - faulty} steps after the faults have stopped"
            raise Counterexample(drawn(way, Violation(said)))
        way.append(chance.choice(fair))
        state = way[-1][4]
    return min(faulty, len(way)), max(0, len(way) - faulty)
