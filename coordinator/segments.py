"""Which events of a run's log are kept: the newest, by whole segments. Pure.

The group that fills a segment also takes the oldest one away, in the same append: fenced by the leader's
token, and never ahead of the rows, which the append of those events has written.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Segments:
    """A log keeps at least `kept` events, and at most a segment of `length` more, up to whole groups."""

    kept: int
    length: int
    _due: int = 0
    """Head at which a segment may go; a new leader looks at its first append."""

    def before(self, head: int) -> int:
        """Position before which events leave the log with the append that ends at `head`; 0 for none."""
        if head < self._due:
            return 0
        whole = max(0, head - self.kept) // self.length * self.length
        self._due = whole + self.kept + self.length
        return whole + 1 if whole else 0
