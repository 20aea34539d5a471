"""New directions: roots, follow-ups of discoveries, and those that artifacts trigger."""

from collections.abc import Sequence

from blackboard import events as ev
from blackboard.events import MICRO, Event
from blackboard.spec import AgentSpec
from blackboard.state import RunState, TaskRow
from coordinator.decision import Env
from protocol.artifacts import Artifact
from protocol.ids import direction_id
from protocol.messages import FollowUp


def follow_ups(state: RunState, task: TaskRow | None, proposals: Sequence[FollowUp], env: Env) -> list[Event]:
    """Directions for what a task, or the run's spec, proposes; the same thing again meets itself."""
    events: list[Event] = []
    opened: set[str] = set()
    met: set[str] = set()
    for proposal in proposals:
        identity = direction_id(state.spec.run, proposal.agent, proposal.topic, proposal.inputs)
        refusal = _refusal(state, proposal, len(opened))
        if identity in state.directions or identity in opened:
            if task is not None and identity not in met and _is_new_parent(state, identity, task.direction):
                met.add(identity)
                events.append(
                    ev.DirectionProposedAgain(
                        at_ms=env.now_ms, direction=identity, parent=task.direction, task=task.id
                    )
                )
        elif refusal:
            events.append(
                ev.FollowUpRefused(
                    at_ms=env.now_ms,
                    task=task.id if task else "spec",
                    agent=proposal.agent,
                    topic=proposal.topic,
                    reason=refusal,
                )
            )
        else:
            opened.add(identity)
            met.add(identity)
            events.append(_opened(state, task, proposal, identity, env))
    return events


def _is_new_parent(state: RunState, identity: str, parent: str) -> bool:
    direction = state.directions[identity]
    return parent not in (identity, direction.parent, *direction.parents)


def _refusal(state: RunState, proposal: FollowUp, opened: int) -> str:
    """Why a proposal cannot become a direction; empty when it can."""
    agent = state.agents.get(proposal.agent)
    if agent is None:
        return f"the run has no agent {proposal.agent!r}"
    if agent.trigger == "finish":
        return f"agent {agent.name!r} runs once, when all else has ended"
    if agent.trigger == "explore" and state.totals.status != "running":
        return "exploration has ended"
    if not proposal.topic.strip() and not proposal.inputs:
        return "neither topic nor inputs"
    if state.totals.directions + opened >= state.spec.max_directions:
        return f"the run's limit of {state.spec.max_directions:,} directions is reached"
    return ""


def _opened(
    state: RunState, task: TaskRow | None, proposal: FollowUp, identity: str, env: Env
) -> ev.DirectionOpened:
    agent = state.agents.get(proposal.agent)
    return ev.DirectionOpened(
        at_ms=env.now_ms,
        direction=identity,
        agent=proposal.agent,
        topic=proposal.topic,
        inputs=tuple(sorted(set(proposal.inputs))),
        parent=task.direction if task else None,
        task=task.id if task else None,
        prior_micro=None if proposal.prior is None else round(proposal.prior * MICRO),
        max_visits=proposal.max_visits or _visits_by_default(agent),
    )


def _visits_by_default(agent: AgentSpec | None) -> int | None:
    """Only exploration comes back to a direction by itself, for only its visits count in the budget."""
    if agent is None or agent.max_visits is not None or agent.trigger == "explore":
        return agent.max_visits if agent else None
    return 1


def triggered(state: RunState, task: TaskRow, artifacts: Sequence[Artifact], env: Env) -> list[Event]:
    """One direction, to be visited once, per agent that consumes what a discovery posted and may see it."""
    proposals: list[FollowUp] = []
    for agent in state.spec.agents:
        if agent.trigger != "artifacts":
            continue
        inputs = tuple(
            artifact.id
            for artifact in artifacts
            if artifact.type in agent.consumes and artifact.visible_to(agent.name, env.now_ms)
        )
        if inputs:
            proposals.append(FollowUp(agent=agent.name, inputs=inputs, max_visits=1))
    return follow_ups(state, task, proposals, env)


def finishing(state: RunState, env: Env) -> ev.DirectionOpened | None:
    """The direction of the next finishing agent that has had none; None when all have."""
    for agent in state.spec.agents:
        if agent.trigger == "finish":
            proposal = FollowUp(agent=agent.name, topic="finish", max_visits=1)
            identity = direction_id(state.spec.run, agent.name, "finish")
            if identity not in state.directions:
                return _opened(state, None, proposal, identity, env)
    return None
