"""Who this worker is, and the envelope of everything that it says."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocol.codec import enclose, encode
from protocol.messages import Record


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker's name, which may outlive the process, and its incarnation, which does not.

    `wall_ms` is the wall clock in epoch milliseconds.
    """

    worker: str
    incarnation: str
    version: str
    wall_ms: Callable[[], int]
    _numbers: Any = field(default_factory=lambda: itertools.count(1), repr=False)

    def seal(self, message: Record, message_id: str | None = None) -> bytes:
        """The message in its envelope; safe from every thread."""
        return encode(
            message,
            source=self.worker,
            message_id=message_id or f"{self.incarnation}-{next(self._numbers)}",
            time_ms=self.wall_ms(),
        )

    def enclose(self, name: str, body: bytes, message_id: str) -> bytes:
        """The encoded body of the message called `name`, in its envelope."""
        return enclose(name, body, source=self.worker, message_id=message_id, time_ms=self.wall_ms())
