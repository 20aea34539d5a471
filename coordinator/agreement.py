"""Whether the other coordinators were started with the same limits of agents and models.

Whoever takes a request for permits grants by its own settings. So coordinators that differ in them keep no
limit at all, and nothing but their own word tells.
"""

import logging

from coordinator.settings import Limits
from protocol.artifacts import digest_of

SWARMWIDE = ("agents", "models", "permit_seconds")
"""What of the limits must be the same for all coordinators."""
FORGOTTEN_SECONDS = 60.0
"""When a coordinator counts no more that says nothing: one that leads no run has nothing to say."""

_log = logging.getLogger(__name__)


class Agreement:
    """The limits of this coordinator, and which of the others have said that theirs are not the same."""

    def __init__(self, limits: Limits) -> None:
        self.digest = digest_of(limits.model_dump(include=set(SWARMWIDE)))
        self._others: dict[str, tuple[str, float]] = {}

    def note(self, coordinator: str, digest: str, now: float) -> None:
        """What a coordinator has said of its limits; an empty digest says nothing. Warns once of each."""
        if not digest:
            return
        known, _ = self._others.get(coordinator, (self.digest, now))
        self._others[coordinator] = digest, now
        if digest not in (known, self.digest):
            names = ", ".join(f"limits.{name}" for name in SWARMWIDE)
            _log.warning(
                "coordinator %s was started with other limits (%s), and each grants by its own: "
                "start all coordinators with the same",
                coordinator,
                names,
            )

    def differing(self, now: float) -> int:
        """How many coordinators have other limits."""
        self._others = {
            name: (digest, heard)
            for name, (digest, heard) in self._others.items()
            if now - heard < FORGOTTEN_SECONDS
        }
        return sum(digest != self.digest for digest, _ in self._others.values())
