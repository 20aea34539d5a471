"""What is kept of the journal of a task that has ended well, once newer ones are many. Pure.

Such a task never runs again, so what answered its calls is of use only to a run that forks or replays it.
Audit needs the calls themselves, and what was done outside: kinds, paths, digests, usage, intents, effects,
answers and divergences stay.
"""

from collections.abc import Sequence

from blackboard.evolve import step_digest
from protocol.artifacts import canonical_json
from protocol.messages import Step

SMALL_BYTES = 64
"""A value up to here stays: its digest would be no shorter."""


def condensed(step: Step) -> Step:
    """The step as it is kept; itself where nothing of it goes."""
    if step.kind not in ("pure", "model") or step.condensed:
        return step
    kept = step.body is None and len(canonical_json(step.value)) <= SMALL_BYTES
    if kept and step.asked is None and not step.failed:
        return step
    gone = {} if kept else {"value": None, "body": None, "condensed": step_digest(step)}
    return step.model_copy(update={"asked": None, "failed": (), **gone})


def whole_steps(steps: Sequence[Step]) -> int:
    """How many of the first steps can still answer a call."""
    return next((number for number, step in enumerate(steps) if step.condensed), len(steps))
