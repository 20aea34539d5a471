"""Checks of what runs: tasks that no living worker takes."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence

from blackboard.encoding import decode_state
from blackboard.state import RunState, TaskRow
from blackboard.store import BlackboardStore
from coordinator.builds import HELD_BY_NOBODY, Offer, remedy, stranded, why_stranded
from coordinator.connections import store, transport
from coordinator.doctor.check import Check
from coordinator.operating import Operator
from coordinator.settings import Settings
from protocol.errors import StoreUnavailable, TransportUnavailable

NAME = "tasks"


async def check_tasks(settings: Settings) -> Sequence[Check]:
    """A warning for each agent of each active run that has tasks which nobody takes."""
    try:
        async with store(settings) as opened:
            found = await _found(opened, settings) if await opened.runs(active=True) else ()
    except (StoreUnavailable, TransportUnavailable) as error:
        return [Check(NAME, "skipped", str(error))]
    return found or [Check(NAME, "ok", "none waits for a worker that nobody has started")]


async def _found(opened: BlackboardStore, settings: Settings) -> Sequence[Check]:
    async with transport(settings, name="doctor") as bus:
        offers = await Operator(opened, bus, settings).offers()
    return [one async for one in _waiting_in_vain(opened, offers)]


async def _waiting_in_vain(opened: BlackboardStore, offers: Sequence[Offer]) -> AsyncGenerator[Check]:
    for run in await opened.runs(active=True):
        loaded = await opened.load(run)
        if loaded.head:
            for check in of_run(decode_state(loaded), offers):
                yield check


def of_run(state: RunState, offers: Sequence[Offer]) -> Iterable[Check]:
    """Those of one run, where `offers` are what living workers offer."""
    run, asked = state.spec.run, state.builds
    unfit: dict[str, list[TaskRow]] = {}
    for task in stranded(state.tasks.values(), offers, asked):
        unfit.setdefault(task.agent, []).append(task)
    for agent, tasks in unfit.items():
        detail = f"{len(tasks):,} of agent {agent} in run {run}: {why_stranded(tasks[0], offers, asked)}"
        yield Check(NAME, "warning", detail, remedy(tasks[0], run, asked))
    taken = {agent for offer in offers for agent in offer.agents}
    open_tasks = (task for task in state.tasks.values() if task.status in HELD_BY_NOBODY)
    waiting = Counter(
        task.agent for task in open_tasks if task.agent not in taken and task.agent not in unfit
    )
    for agent, count in sorted(waiting.items()):
        detail = f"{count:,} of agent {agent} in run {run}: no living worker offers the agent"
        yield Check(NAME, "warning", detail, f"start a worker whose --agents have {agent}")
