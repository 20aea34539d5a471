"""Submission of runs: the run's first event makes it true, then a bell is rung for the coordinators."""

from blackboard import events as ev
from blackboard.encoding import encode_changes, encode_event
from blackboard.evolve import begin
from blackboard.spec import RunSpec
from blackboard.store import Batch, BlackboardStore
from coordinator.frontier.policies import POLICIES
from protocol import subjects
from protocol.artifacts import canonical_json
from protocol.errors import InvalidMessage, Overloaded
from protocol.transport.contract import Transport

RETRY_AFTER_SECONDS = 10.0
SETTINGS_BYTES = 64 * 1024
"""A run's settings travel with every grant."""


async def submit(
    store: BlackboardStore, transport: Transport, spec: RunSpec, *, now_ms: int, max_active: int
) -> bool:
    """Creates a run; False when a run of that id exists already with the same spec.

    :raises Overloaded: when `max_active` runs are active.
    :raises InvalidMessage: when the run exists with another spec, or names what there is not.
    :raises StoreUnavailable: when it may or may not have been created: submit it again.
    """
    check(spec)
    if spec.origin is not None:
        raise InvalidMessage("origin", "is set by the verbs `fork` and `replay`", "leave it out")
    known = (await store.rows(spec.run, "run", ["spec"])).get("spec")
    if known is not None:
        if RunSpec.model_validate_json(known) != spec:
            raise InvalidMessage("run", f"run {spec.run} exists with another spec", "choose another id")
        return False
    if len(await store.runs(active=True)) >= max_active:
        raise Overloaded("active runs", max_active, RETRY_AFTER_SECONDS)
    created = ev.RunCreated(at_ms=now_ms, spec=spec)
    state = begin(created)
    batch = Batch(spec.run, "", 0, [encode_event(created)], encode_changes(state).rows)
    await store.append(batch, ttl_seconds=1)
    transport.emit(subjects.RUNS, b"")
    return True


def check(spec: RunSpec) -> None:
    """:raises InvalidMessage: for a specification that nobody could lead."""
    if len(canonical_json(spec.settings)) > SETTINGS_BYTES:
        raise InvalidMessage(
            "settings", f"are over {SETTINGS_BYTES:,} bytes of JSON", "name a file or an artifact instead"
        )
    names = [agent.name for agent in spec.agents]
    for number, agent in enumerate(spec.agents):
        if agent.name in names[:number]:
            raise InvalidMessage(f"agents.{number}.name", f"{agent.name!r} is there twice", "name it once")
        if agent.policy not in POLICIES:
            raise InvalidMessage(
                f"agents.{number}.policy",
                f"there is no policy {agent.policy!r}",
                f"use one of {', '.join(POLICIES)}",
            )
    for number, root in enumerate(spec.roots):
        if root.agent not in names:
            raise InvalidMessage(
                f"roots.{number}.agent", f"{root.agent!r} is not among the agents", "name one of them"
            )
