"""Which events of a run's log are kept: the newest, by whole segments. Pure.

Whatever takes a segment away is part of an append: fenced by the leader's token, and never ahead of the rows,
which the append of those events has written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from blackboard.store import RowWrite


@dataclass(frozen=True, slots=True)
class Leaving:
    """What leaves a log with the next append: groups of events that end before `trim`, or none at 0."""

    trim: int = 0
    rows: Sequence[RowWrite] = ()
    bodies: Sequence[str] = ()


NOTHING = Leaving()


def whole_segments(head: int, kept: int, length: int) -> int:
    """Number of the last event that may leave a log of this head, so that `kept` newer ones stay."""
    return max(0, head - kept) // length * length


@dataclass(slots=True)
class Segments:
    """A log keeps at least `kept` events, and at most a segment of `length` more, up to whole groups.

    For logs that are trimmed at once: the group that fills a segment takes the oldest one away.
    """

    kept: int
    length: int
    _due: int = 0
    """Head at which a segment may go; a new leader looks at its first append."""

    def leaving(self, head: int) -> Leaving:
        """What leaves with the append that ends at `head`."""
        if head < self._due:
            return NOTHING
        whole = whole_segments(head, self.kept, self.length)
        self._due = whole + self.kept + self.length
        return Leaving(whole + 1) if whole else NOTHING
