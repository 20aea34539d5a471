"""How many more tasks of an agent may be dispatched now, by the limits in its part of the specification.

The rate is the generic cell rate algorithm (ITU-T I.371): a dispatch takes its share of a minute, and may
begin once those before it have taken theirs, less what a second holds: the leader looks once a second.
"""

import math

from blackboard.state import RunState

NO_LIMIT = 1_000_000


def room(state: RunState, agent: str, now_ms: int) -> int:
    """NO_LIMIT where the agent has none."""
    if agent not in state.limited:
        return NO_LIMIT
    spec = state.agents[agent]
    left = NO_LIMIT if spec.max_running is None else spec.max_running - state.busy[agent]
    if spec.per_minute is not None:
        left = min(left, allowed(state.totals.paces.get(agent, 0), spec.per_minute, now_ms))
    return max(0, left)


def burst(per_minute: float) -> int:
    """Dispatches that may follow each other at once: those of a second, at least one."""
    return max(1, math.ceil(per_minute / 60))


def allowed(taken_until_ms: float, per_minute: float, now_ms: int) -> int:
    """How many may begin now, where what has begun takes up the time until a moment."""
    ahead = burst(per_minute) * 60_000 / per_minute - max(0, taken_until_ms - now_ms)
    return math.floor(ahead * per_minute / 60_000 + 1e-6)
