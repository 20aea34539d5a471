"""Directions: roots, follow-ups of discoveries, those that artifacts trigger, and when one is retired."""

from collections.abc import Collection, Sequence

from blackboard import events as ev
from blackboard.events import MICRO, Event
from blackboard.spec import AgentSpec
from blackboard.state import RunState, TaskRow
from coordinator.decision import Decision, Env, Judge
from coordinator.frontier.stopping import StoppingRule, retirement
from coordinator.run import Run
from protocol.artifacts import Artifact
from protocol.ids import direction_id, finish_topic
from protocol.messages import FollowUp


def follow_ups(run: Run, task: TaskRow | None, proposals: Sequence[FollowUp], env: Env) -> list[Event]:
    """Directions for what a task, or the run's spec, proposes; the same thing again meets itself."""
    state = run.state
    events: list[Event] = []
    opened: dict[str, None] = {}
    met: set[str] = set()
    for proposal in proposals:
        identity, similarity = _same(run, proposal, opened)
        refusal = _refusal(state, proposal, len(opened))
        if identity in state.directions or identity in opened:
            if task is not None and identity not in met and _is_new_parent(state, identity, task.direction):
                met.add(identity)
                events.append(_proposed_again(task, proposal, identity, similarity, env))
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
            opened[identity] = None
            met.add(identity)
            events.append(_opened(state, task, proposal, identity, env))
    return events


def _same(run: Run, proposal: FollowUp, opened: Collection[str]) -> tuple[str, float | None]:
    """The direction that a proposal names: its own, or one that says nearly the same, and how nearly."""
    identity = direction_id(run.state.spec.namespace, proposal.agent, proposal.topic, proposal.inputs)
    similar = run.similar.get(proposal.agent)
    if similar is None or proposal.inputs or identity in run.state.directions or identity in opened:
        return identity, None
    found = similar.find(proposal.topic)
    return (identity, None) if found is None else (found.direction, found.similarity)


def _proposed_again(
    task: TaskRow, proposal: FollowUp, identity: str, similarity: float | None, env: Env
) -> ev.DirectionProposedAgain:
    return ev.DirectionProposedAgain(
        at_ms=env.now_ms,
        direction=identity,
        parent=task.direction,
        task=task.id,
        topic="" if similarity is None else proposal.topic,
        similarity=similarity,
    )


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
    changed = state.spec.inherited(identity)
    return ev.DirectionOpened(
        at_ms=env.now_ms,
        direction=identity,
        agent=proposal.agent,
        topic=changed.topic if changed else proposal.topic,
        inputs=changed.inputs if changed else tuple(sorted(set(proposal.inputs))),
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


def triggered(run: Run, task: TaskRow, artifacts: Sequence[Artifact], env: Env) -> list[Event]:
    """One direction, to be visited once, per agent that consumes what a discovery posted and may see it."""
    proposals: list[FollowUp] = []
    for agent in run.state.spec.agents:
        if agent.trigger != "artifacts":
            continue
        inputs = tuple(
            artifact.id
            for artifact in artifacts
            if artifact.type in agent.consumes and artifact.visible_to(agent.name, env.now_ms)
        )
        if inputs:
            proposals.append(FollowUp(agent=agent.name, inputs=inputs, max_visits=1))
    return follow_ups(run, task, proposals, env)


def judge(run: Run, command: Judge, env: Env) -> Decision:
    """Retires a direction that is all but certainly worth no further visit."""
    row = run.state.directions[command.direction]
    agent = run.state.agents.get(row.agent)
    if agent is None or agent.least_reward is None or row.inquiry is not None:
        return Decision()
    reason = retirement(row, StoppingRule(agent.least_reward), run.frontiers[agent.name].pooled)
    if reason is None:
        return Decision()
    return Decision(events=[ev.DirectionRetired(at_ms=env.now_ms, direction=row.id, reason=reason)])


def finishing(state: RunState, env: Env) -> ev.DirectionOpened | None:
    """The direction of the next finishing agent that has had none in this round; None when all have."""
    for agent in state.spec.agents:
        if agent.trigger == "finish":
            proposal = FollowUp(agent=agent.name, topic=_round(state), max_visits=1)
            identity = direction_id(state.spec.namespace, agent.name, proposal.topic)
            if identity not in state.directions:
                return _opened(state, None, proposal, identity, env)
    return None


def finishers(state: RunState) -> frozenset[str]:
    """The directions in which the finishing agents have their say in this round."""
    names = (agent.name for agent in state.spec.agents if agent.trigger == "finish")
    return frozenset(direction_id(state.spec.namespace, name, _round(state)) for name in names)


def _round(state: RunState) -> str:
    """The topic of the finishing agents: another one for each time that the run was reopened for them."""
    return finish_topic(state.totals.rounds)
