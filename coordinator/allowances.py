"""What the leaders of one coordinator may dispatch of agents that the whole swarm limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from blackboard.spec import RunSpec
from blackboard.state import RunState
from coordinator.permits import Allowance
from protocol.limits import LimitTable, Portion


@dataclass(slots=True)
class Allowances:
    """Empty, and false, where no agent is limited."""

    table: LimitTable
    by_run: dict[str, dict[str, Allowance]] = field(default_factory=dict[str, dict[str, Allowance]])
    said: dict[tuple[str, str, str], Portion] = field(default_factory=dict[tuple[str, str, str], Portion])
    """What was last said of them."""
    bell: anyio.Event = field(default_factory=anyio.Event)

    def __bool__(self) -> bool:
        return bool(self.table)

    def open(self, spec: RunSpec, now_ms: int) -> Mapping[str, Allowance]:
        """Those of the limited agents of a run, for its new leader: it has no permit yet."""
        if not self.table:
            return {}
        names = {agent.name: self.table.find(agent.name) for agent in spec.agents}
        made = {agent: Allowance(name, now_ms) for agent, name in names.items() if name is not None}
        if made:
            self.by_run[spec.run] = made
        return made

    def capped(self, state: RunState, demand: dict[str, int]) -> dict[str, int]:
        """What a run wants of the fleet's slots, without those for which it can have no permit now."""
        for agent, allowance in self.by_run.get(state.spec.run, {}).items():
            if agent in demand:
                busy = state.busy[agent]
                most = busy + allowance.unused(busy) + allowance.spare
                demand[agent] = min(demand[agent], most)
        return demand
