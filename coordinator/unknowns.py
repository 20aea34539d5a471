"""Effects of which nobody knows whether they happened, and what is going to be done about them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from blackboard.state import OPEN, InquiryRow, TaskRow
from protocol.messages import EffectKind, Intent, Step

Fate = Literal[
    "under way", "is done again", "is reconciled", "is put to a person", "waits for you", "is left"
]
_FATES: Mapping[EffectKind, Fate] = {
    "idempotent": "is done again",
    "keyed": "is done again",
    "reconcilable": "is reconciled",
    "unsafe": "is put to a person",
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A recorded intent without an outcome. `inquiry` is the open question about it."""

    key: str
    task: str
    agent: str
    path: str
    ordinal: int
    effect: EffectKind
    fate: Fate
    request: str = ""
    inquiry: str | None = None


def unknown_effects(
    task: TaskRow, steps: Sequence[Step], requests: Sequence[str], inquiries: Iterable[InquiryRow]
) -> Iterator[Unknown]:
    """Those of one task. `requests` are the steps' requests as text."""
    done = {(step.path, step.occurrence) for step in steps if step.kind == "effect"}
    asked = {row.wait.path: row.id for row in inquiries if row.task == task.id and row.open}
    for step, request in zip(steps, requests, strict=True):
        if step.kind != "intent" or (step.path, step.occurrence) in done:
            continue
        intent = Intent.model_validate(step.value)
        inquiry = asked.get(f"unknown/{step.path}/{step.occurrence}")
        yield Unknown(
            key=intent.key,
            task=task.id,
            agent=task.agent,
            path=step.path,
            ordinal=step.occurrence,
            effect=intent.effect,
            fate=_fate(task, intent.effect, inquiry),
            request=request,
            inquiry=inquiry,
        )


def _fate(task: TaskRow, effect: EffectKind, inquiry: str | None) -> Fate:
    if inquiry is not None:
        return "waits for you"
    if task.status not in OPEN:
        return "is left"
    return "under way" if task.status == "running" else _FATES[effect]
