"""The rows of a run against the fold of its events."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import groupby

from blackboard.condensing import condensed
from blackboard.encoding import decode_choice, encode_row
from blackboard.store import BlackboardStore, RowKind
from coordinator.verification.proof import NAMED, Expected, Place, digest
from protocol.messages import BodyRef, Step

AT_ONCE = 1_000
PROBLEM_CHARACTERS = 500
WHOLE: tuple[RowKind, ...] = ("run", "task", "direction", "inquiry")
"""Kinds of which all rows are read, so that one too many is found."""
Finding = tuple[Place, str]


class Rows:
    """Reads rows, and finds those that are not as expected."""

    def __init__(self, store: BlackboardStore, run: str, expected: Expected) -> None:
        self._store = store
        self._run = run
        self._expected = expected
        self.bodies: dict[str, BodyRef] = {}
        """What the steps name that were read."""

    async def every(self) -> AsyncGenerator[Finding]:
        """All that must be there, and all that is; of steps only the former, for journals may be large."""
        expected = self._expected
        kinds: tuple[RowKind, ...] = (*WHOLE, *NAMED)
        for kind in kinds:
            stored = await self._store.rows(self._run, kind)
            wanted = {key for of, key in expected.rows if of == kind}
            if kind in NAMED:
                wanted = expected.names(kind)
            for one in self._differing(kind, [*wanted, *(stored.keys() - wanted)], stored):
                yield one
        async for one in self.some([place for place in expected.rows if place[0] == "step"]):
            yield one

    async def some(self, places: Sequence[Place]) -> AsyncGenerator[Finding]:
        """Of these places only."""
        for kind, group in groupby(places, _kind):
            keys = [key for _, key in group]
            for at in range(0, len(keys), AT_ONCE):
                page = keys[at : at + AT_ONCE]
                stored = await self._store.rows(self._run, kind, page)
                for one in self._differing(kind, page, stored):
                    yield one

    async def choices(self) -> Mapping[str, bytes]:
        """To be judged once the events are folded that were there when they were read."""
        return await self._store.rows(self._run, "choice")

    def wrong(self, choices: Mapping[str, bytes]) -> Iterator[Finding]:
        """Choices are in no event; what they must agree with is the task that was begun on them."""
        for identity, row in choices.items():
            task = self._expected.state.tasks.get(identity)
            if task is None:
                yield ("choice", identity), "is there, and no event has made it"
                continue
            try:
                chosen = decode_choice(row).chosen.direction
            except ValueError:
                yield ("choice", identity), "cannot be read"
                continue
            if chosen != task.direction:
                yield ("choice", identity), f"chose {chosen}, the task is of {task.direction}"

    def _differing(
        self, kind: RowKind, keys: Sequence[str], stored: Mapping[str, bytes]
    ) -> Iterator[Finding]:
        names = self._expected.names(kind) if kind in NAMED else None
        for key in keys:
            wanted = self._expected.rows.get((kind, key)) if names is None else (key in names or None)
            row = stored.get(key)
            if row is None and wanted is not None:
                yield (kind, key), "is missing"
            elif row is not None and wanted is None:
                yield (kind, key), "is there, and no event has made it"
            elif row is not None and names is None and self._digest(kind, row) != wanted:
                yield (kind, key), self._described((kind, key), row)

    def _digest(self, kind: RowKind, row: bytes) -> bytes:
        """Of a step, that of what is kept for good: it holds the digest of the rest."""
        if kind != "step":
            return digest(row)
        try:
            step = Step.model_validate_json(row)
        except ValueError:
            return b""
        named = (step.body, step.asked and step.asked.body)
        self.bodies |= {body.digest: body for body in named if body is not None}
        return digest(encode_row(condensed(step)))

    def _described(self, place: Place, stored: bytes) -> str:
        """Which fields differ, where the fold still has them."""
        row = self._expected.row(place)
        if row is None:
            return "is not what its event has made it"
        try:
            said = json.loads(stored)
            made = json.loads(encode_row(row))
            names = [name for name in {**made, **said} if made.get(name) != said.get(name)]
        except (ValueError, TypeError):
            return "cannot be read"
        told = [f"{name} is {said.get(name)!r}, by the events {made.get(name)!r}" for name in names]
        return "; ".join(told)[:PROBLEM_CHARACTERS] or "has the same content in another form"


def _kind(place: Place) -> RowKind:
    return place[0]
