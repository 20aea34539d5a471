"""How the fleet's slots are shared by the runs that want them. Pure, and the same on every coordinator."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slots:
    """What one worker offers: `count` tasks at once, of any of `agents`."""

    agents: frozenset[str]
    count: int


def allot(demands: Mapping[str, Mapping[str, int]], fleet: Collection[Slots]) -> dict[str, int]:
    """Max-min fair shares of all slots: by run, the tasks that it may have under way at once.

    `demands` is by run and agent. No run gets more than it wants, nor more than the workers that
    offer its agents have; what one leaves goes to the others. A remainder that cannot be split
    goes by run id.
    """
    wanted = {run: _reachable(agents, fleet) for run, agents in demands.items()}
    left = sum(slots.count for slots in fleet)
    shares: dict[str, int] = dict.fromkeys(wanted, 0)
    hungry: list[str] = sorted(run for run, want in wanted.items() if want > 0)
    while hungry and left > 0:
        portion = max(left // len(hungry), 1)
        for run in hungry:
            given = min(portion, wanted[run] - shares[run], left)
            shares[run] += given
            left -= given
        hungry = [run for run in hungry if shares[run] < wanted[run]]
    return shares


def offered(agent: str, fleet: Collection[Slots]) -> int:
    """Slots of the workers that offer an agent."""
    return sum(slots.count for slots in fleet if agent in slots.agents)


def _reachable(agents: Mapping[str, int], fleet: Collection[Slots]) -> int:
    """What a run can use of the fleet: its demand agent by agent, capped by the slots that serve it."""
    demand = sum(min(count, offered(agent, fleet)) for agent, count in agents.items())
    capacity = sum(slots.count for slots in fleet if not slots.agents.isdisjoint(agents))
    return min(demand, capacity)
