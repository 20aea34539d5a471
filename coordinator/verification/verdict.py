"""What was compared of a run, and what differs."""

from dataclasses import dataclass, field
from typing import Literal

What = Literal["log", "row", "artifact", "body", "statistics"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it must be, by id."""

    what: What
    id: str
    problem: str


@dataclass(slots=True)
class Verdict:
    """`proven`: all events from the first on were there, and the rows were compared with their fold."""

    run: str
    proven: bool = False
    events: int = 0
    archived: int = 0
    """Events that came from the archive."""
    rows: int = 0
    artifacts: int = 0
    bodies: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])
    unproven: str = ""
    """Why the rows could not be compared with the fold."""
    moving: list[str] = field(default_factory=list[str])
    """Rows that the run touched whenever they were read: pause it, or wait for its end."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; what could not be compared is not wrong."""
        return not self.differences

    def differs(self, what: What, identity: str, problem: str) -> None:
        """Notes a difference."""
        self.differences.append(Difference(what, identity, problem))
