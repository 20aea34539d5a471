"""How far each run's log was known to go: what tells that a store came back older than it was."""

from dataclasses import dataclass, field

RUNS_LIMIT = 10_000
"""Runs whose heads are kept, the latest told."""


@dataclass(slots=True)
class Heads:
    """The newest committed heads that this coordinator has seen or was told of, by run."""

    _known: dict[str, int] = field(default_factory=dict[str, int])

    def note(self, run: str, head: int) -> None:
        """What a leader has committed; 0 says nothing. The newest word counts, even if it is lower."""
        if head:
            self._known.pop(run, None)
            self._known[run] = head
            if len(self._known) > RUNS_LIMIT:
                del self._known[next(iter(self._known))]

    def lost(self, run: str, head: int) -> int:
        """How many committed events are missing from a log that ends at `head`."""
        return max(0, self._known.get(run, 0) - head)
