"""Which workers may run which task: builds of agents, as workers tell them. Pure.

A step is told from others by its name, its request and its place; so a journal belongs to the build of the
agent that wrote it. A task with one only goes to a worker whose agent has that build, or says that it goes on
from it. A build that nobody told (`""`) is no bar: nothing is known of it. A run may also ask for a build of
an agent; then that is what all of the agent's tasks need.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from blackboard.state import RunState, TaskRow
from protocol.ids import ANY
from protocol.messages import SwarmHeartbeat
from protocol.plain import plain

HELD_BY_NOBODY = frozenset(("queued", "dispatched", "waiting"))
SHOWN_BUILDS = 5


@plain
class Offer:
    """What a worker that may be given work offers: agents, their builds, and how many slots are free."""

    agents: frozenset[str]
    builds: Mapping[str, Sequence[str]]
    free: int

    @staticmethod
    def of(beat: SwarmHeartbeat) -> "Offer":
        taken = sum(held.state != "finished" for held in beat.held)
        return Offer(frozenset(beat.agents), beat.builds, max(0, beat.slots - taken))


def goes_on(told: Sequence[str], written_by: str) -> bool:
    """Whether an agent goes on from a journal. `told`: its build, then the others that it names."""
    return not written_by or written_by in told or ANY in told


def needed(task: TaskRow, asked: Mapping[str, str]) -> str:
    """The build that its run asks for (`asked`, by agent), or that wrote its journal; empty: any will do."""
    return asked.get(task.agent) or (task.written_by if task.steps else "")


class Room:
    """How many tasks may go out for the builds that they need, in one round of dispatches.

    Without offers nobody is barred.
    """

    def __init__(self, state: RunState, offers: Sequence[Offer] | None) -> None:
        self._state = state
        self._offers = offers
        self._left: dict[tuple[str, str], int | None] = {}

    def takes(self, task: TaskRow) -> bool:
        """Whether a worker is free that may run the task. A yes counts."""
        build = needed(task, self._state.builds)
        left = self.left(task.agent, build)
        if left is not None:
            self._left[task.agent, build] = left - 1
        return left is None or left > 0

    def left(self, agent: str, build: str) -> int | None:
        """How many tasks of an agent may go out that need a build; None: no bound of its own.

        Where all workers go on from it, slots are counted elsewhere. Where only some do, messages of such
        tasks also reach the others, who send them back; so never more are out than there is room for.
        """
        if not build or self._offers is None:
            return None
        key = agent, build
        if key not in self._left:
            self._left[key] = self._count(self._offers, *key)
        return self._left[key]

    def _count(self, offers: Sequence[Offer], agent: str, build: str) -> int | None:
        """None: no bound of its own."""
        offering = [offer for offer in offers if agent in offer.agents]
        able = [offer for offer in offering if goes_on(offer.builds.get(agent, ()), build)]
        if able and len(able) == len(offering):
            return None
        tasks = (self._state.tasks[identity] for identity in self._state.dispatched)
        out = sum(task.agent == agent and needed(task, self._state.builds) == build for task in tasks)
        return sum(offer.free for offer in able) - out


def stranded(
    tasks: Iterable[TaskRow], offers: Sequence[Offer], asked: Mapping[str, str]
) -> Iterable[TaskRow]:
    """Tasks held by nobody that none of the workers may run."""
    known: dict[tuple[str, str], bool] = {}
    for task in tasks:
        build = needed(task, asked)
        if not build or task.status not in HELD_BY_NOBODY:
            continue
        key = task.agent, build
        if key not in known:
            told = (offer.builds.get(task.agent, ()) for offer in offers if task.agent in offer.agents)
            known[key] = any(goes_on(one, build) for one in told)
        if not known[key]:
            yield task


def why_stranded(task: TaskRow, offers: Sequence[Offer], asked: Mapping[str, str]) -> str:
    """The reason, in words."""
    build = needed(task, asked)
    offering = [offer.builds.get(task.agent, ("",)) for offer in offers if task.agent in offer.agents]
    journal = f"build {build} of agent {task.agent} recorded {task.steps} steps"
    if task.agent in asked:
        journal = f"the run asks for build {build} of agent {task.agent}"
    if not offering:
        return f"{journal}, and no living worker offers the agent"
    there = Counter(told[0] or "none told" for told in offering)
    names = ", ".join(f"{name} ({count})" for name, count in there.most_common(SHOWN_BUILDS))
    return f"{journal}, and no living worker goes on from it; builds there: {names}"


def remedy(task: TaskRow, run: str, asked: Mapping[str, str]) -> str:
    """What an operator may do about it."""
    build = needed(task, asked)
    if task.agent in asked:
        return f"start a worker with --build {build} and that code"
    return (
        f"start a worker with --build {build} and that code, or one with --compatible {build} if the code "
        f"there can go on from these steps; or make the steps anew: coordinator fork {run} --at {task.id}"
    )
