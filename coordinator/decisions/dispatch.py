"""Which task next: requeued ones that are due come first, then a new visit that the frontier chooses."""

from collections import Counter
from collections.abc import Sequence

from blackboard import events as ev
from blackboard.spec import Amounts
from blackboard.state import DirectionRow, RunState, TaskRow
from coordinator.builds import Offer, Room, stranded
from coordinator.decision import Decision, Env, Publish, Redispatch, Visit
from coordinator.decisions import limits
from coordinator.decisions.purse import Purse
from coordinator.gates import held_back, needs
from coordinator.run import Run
from protocol.ids import task_id


def redispatch(state: RunState, command: Redispatch, env: Env) -> Decision:
    """Dispatches queued tasks again, then questions to agents, oldest first, while there is room."""
    decision = Decision()
    if state.totals.paused is not None:
        return decision
    purse = Purse(state, env.now_ms)
    room, total = Counter(command.room), command.total
    probing: set[str] = set()
    builds = Room(state, command.offers)
    for agent in state.limited:
        room[agent] = min(room[agent], limits.room(state, agent, env.now_ms))
    for identity in state.queued:
        if total <= 0:
            break
        task = state.tasks[identity]
        if task.not_before_ms > env.now_ms or room[task.agent] <= 0 or _barred(purse, task.agent):
            continue
        if not _lets(task, command, probing) or (task.steps and not builds.takes(task)):
            continue
        room[task.agent] -= 1
        total -= 1
        _dispatch(decision, _next_attempt(task, purse, env))
    for identity in state.asked:
        direction = state.directions[identity]
        if total <= 0:
            break
        if room[direction.agent] <= 0 or _barred(purse, direction.agent):
            continue
        room[direction.agent] -= 1
        total -= 1
        _dispatch(decision, _first_visit(state, direction, purse.take(direction.agent), env))
    return decision


def _barred(purse: Purse, agent: str) -> bool:
    """Whether the deadline or a budget allows nothing more of an agent."""
    return is_late(purse.state, agent, purse.now_ms) or bool(purse.refusal(agent))


def _lets(task: TaskRow, command: Redispatch, probing: set[str]) -> bool:
    """Whether no shut provider holds a task back."""
    if not command.shut or not needs(task.failure, command.shut):
        return True
    return _may_probe(task, command, probing)


def _may_probe(task: TaskRow, command: Redispatch, probing: set[str]) -> bool:
    """Whether a task is the first to need a provider that may be probed."""
    provider = (task.failure and task.failure.provider) or ""
    if provider not in command.due or provider in probing:
        return False
    probing.add(provider)
    return True


def _next_attempt(task: TaskRow, purse: Purse, env: Env) -> ev.TaskDispatched:
    return ev.TaskDispatched(
        at_ms=env.now_ms,
        task=task.id,
        direction=task.direction,
        agent=task.agent,
        visit=task.visit,
        attempt=task.attempt + 1,
        token=env.token(),
        reserved=purse.take(task.agent),
    )


def _first_visit(
    state: RunState,
    direction: DirectionRow,
    reserved: Amounts | None,
    env: Env,
    choice: ev.Choice | None = None,
) -> ev.TaskDispatched:
    number = direction.numbered + 1
    return ev.TaskDispatched(
        at_ms=env.now_ms,
        task=task_id(state.spec.namespace, direction.id, number),
        direction=direction.id,
        agent=direction.agent,
        visit=number,
        attempt=1,
        token=env.token(),
        reserved=reserved,
        choice=choice,
    )


def visit(run: Run, command: Visit, env: Env) -> Decision:
    """A new visit of the direction that the agent's frontier chooses; nothing when it has none to offer."""
    state = run.state
    decision = Decision()
    agent = state.agents.get(command.agent)
    if agent is None or not may_visit(state, agent.name, env.now_ms):
        return decision
    choice = run.frontiers[agent.name].choose(state.totals.choices, state.spec.seed)
    if choice is None:
        return decision
    direction = state.directions[choice.chosen.direction]
    reason = choice if agent.trigger == "explore" else None
    reserved = Purse(state, env.now_ms).take(agent.name) if state.metered else None
    _dispatch(decision, _first_visit(state, direction, reserved, env, reason))
    return decision


def may_visit(state: RunState, agent: str, now_ms: int) -> bool:
    """Whether a new visit for this agent may be made at all: open directions, and what the run allows."""
    totals = state.totals
    if state.choosable[agent] <= 0 or totals.ended or totals.cancelling or totals.paused is not None:
        return False
    if is_late(state, agent, now_ms) or (state.metered and Purse(state, now_ms).refusal(agent)):
        return False
    if state.limited and not limits.room(state, agent, now_ms):
        return False
    spec = state.agents.get(agent)
    if spec is None or spec.trigger != "explore":
        return True
    return state.totals.exploring and not exploration_limit(state, now_ms)


def deadline_ms(state: RunState, agent: str) -> int | None:
    """When an agent's tasks must have ended. Finishing agents have none: they report what was found."""
    spec = state.agents.get(agent)
    return None if spec is not None and spec.trigger == "finish" else state.spec.deadline_ms


def is_late(state: RunState, agent: str, now_ms: int) -> bool:
    """Whether nothing may begin any more for this agent."""
    deadline = deadline_ms(state, agent)
    return deadline is not None and now_ms >= deadline


def exploration_limit(state: RunState, now_ms: int) -> str:
    """The limit that ends exploration now, in words; empty when there is none."""
    budget = state.spec.budget
    if state.spec.deadline_ms is not None and now_ms >= state.spec.deadline_ms:
        return "the deadline has passed"
    used, limit = state.totals.explored, budget.tasks
    if limit is not None and used >= limit:
        return f"the budget of {limit:,} tasks is spent"
    return Purse(state, now_ms).exploration_is_over() if state.metered else ""


def wanted(
    state: RunState,
    now_ms: int,
    shut: frozenset[str] = frozenset(),
    offers: Sequence[Offer] | None = None,
) -> dict[str, int]:
    """Slots that the run could keep busy now, by agent: running, dispatched, due again, and new visits.

    Tasks that none of `offers` may run want none. An agent one of whose tasks waits for a
    provider of `shut` wants one at most, to probe it.
    """
    demand = Counter(state.busy)
    if state.totals.paused is not None:
        return {agent: count for agent, count in demand.items() if count}
    purse = Purse(state, now_ms)
    queued = [state.tasks[identity] for identity in state.queued]
    barred = () if offers is None else {task.id for task in stranded(queued, offers, state.builds)}
    for task in queued:
        if task.not_before_ms <= now_ms and not purse.refusal(task.agent) and task.id not in barred:
            demand[task.agent] += 1
    demand.update(state.directions[identity].agent for identity in state.asked)
    for agent in state.spec.agents:
        if may_visit(state, agent.name, now_ms):
            left = Room(state, offers).left(agent.name, agent.build)
            visits = _new_visits(state, agent.name)
            demand[agent.name] += visits if left is None else max(0, min(visits, left))
    for agent in held_back(state, shut) if shut else ():
        demand[agent] = min(demand[agent], state.busy[agent] + 1)
    for agent in state.limited:
        demand[agent] = min(demand[agent], state.busy[agent] + limits.room(state, agent, now_ms))
    return {agent: count for agent, count in demand.items() if count}


def _new_visits(state: RunState, agent: str) -> int:
    spec = state.agents.get(agent)
    if spec is None or spec.trigger != "explore":
        return state.choosable[agent]
    if state.spec.budget.tasks is None:
        return 1_000_000
    return state.spec.budget.tasks - state.totals.explored


def _dispatch(decision: Decision, event: ev.TaskDispatched) -> None:
    decision.events.append(event)
    decision.effects.append(Publish(event.task, event.token))
