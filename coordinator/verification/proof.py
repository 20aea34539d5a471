"""What a run's rows must be, by the fold of its events: a digest per row, so that any length of log fits.

Only what the last events have touched is open to doubt while a run goes on: `touched` says which rows.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, cast

from blackboard.condensing import condensed
from blackboard.encoding import decode_event, encode_artifact, encode_row
from blackboard.events import RunCreated
from blackboard.evolve import begin, evolve
from blackboard.state import RunState, living
from blackboard.store import LogEntry, RowKind
from protocol.messages import Step

NAMED: tuple[RowKind, ...] = ("live", "journal", "dead")
"""Kinds whose rows are names only."""
Place = tuple[RowKind, str]


class Unfoldable(Exception):
    """An event that cannot follow the ones before it, or that nobody can read."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"event {position:,} {problem}")


def digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


class Expected:
    """Folds events, page by page."""

    def __init__(self) -> None:
        self.position = 0
        self.rows: dict[Place, bytes] = {}
        """Digests of all rows that have a value; of steps, of what is kept once they are condensed."""
        self.named: set[Place] = set()
        """Rows of the kinds that are names only, but for `live`, which follows from the state."""
        self.artifacts: dict[str, bytes] = {}
        """Digests of all artifacts as they are stored."""
        self.touched: set[Place] = set()
        self._state: RunState | None = None

    @property
    def state(self) -> RunState:
        """The fold up to now. :raises Unfoldable: before the first event."""
        if self._state is None:
            raise Unfoldable(1, "is missing")
        return self._state

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """:raises Unfoldable: at a gap, and at an event that is not what the leader wrote."""
        for entry in entries:
            if entry.position != self.position + 1:
                raise Unfoldable(self.position + 1, f"is missing: the log goes on with {entry.position:,}")
            try:
                self._apply(entry.event)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                told = f"cannot be applied: {type(error).__name__}: {error}"
                raise Unfoldable(entry.position, told[:300]) from error
            self.position = entry.position
        self._take()

    def _apply(self, data: bytes) -> None:
        event = decode_event(data)
        if self._state is not None:
            evolve(self._state, event)
        elif isinstance(event, RunCreated):
            self._state = begin(event)
        else:
            raise ValueError(f"a log begins with run_created, not {event.kind}")

    def _take(self) -> None:
        if self._state is None:
            return
        changes, marks, posted, *_ = self._state.take_changes()
        for place, row in changes.items():
            self.rows[place] = digest(encode_row(condensed(row) if isinstance(row, Step) else row))
        for place, there in marks.items():
            if place[0] != "live":
                (self.named.add if there else self.named.discard)(place)
        for artifact in posted:
            self.artifacts[artifact.id] = digest(encode_artifact(artifact).value)
        self.touched |= changes.keys() | marks.keys()

    def names(self, kind: RowKind) -> set[str]:
        """The rows of a kind that is names only."""
        if kind == "live":
            return living(self.state)
        return {key for of, key in self.named if of == kind}

    def row(self, place: Place) -> Any:  # noqa: ANN401 - whatever row it is
        """A row by the fold, where the state has it: all but steps."""
        kind, key = place
        state = self.state
        if kind == "run":
            return state.spec if key == "spec" else state.totals
        kept = {"task": state.tasks, "direction": state.directions, "inquiry": state.inquiries}.get(kind)
        return None if kept is None else cast("dict[str, Any]", kept).get(key)
