"""What group commit and archive tell each other: that a segment is due, and that it may leave the log."""

import anyio

from coordinator.segments import NOTHING, Leaving


class Archived:
    """For logs whose segments are put away before they leave."""

    def __init__(self, due: int) -> None:
        self._due = due
        self._wake = anyio.Event()
        self._next = NOTHING

    def leaving(self, head: int) -> Leaving:
        """What leaves with the append that ends at `head`."""
        if head >= self._due:
            self._wake.set()
        taken, self._next = self._next, NOTHING
        return taken

    async def due(self) -> None:
        """Waits for an append that ends where it was expected to, or later."""
        await self._wake.wait()

    def expect(self, head: int) -> None:
        """Another segment is due when the log ends here."""
        self._due, self._wake = head, anyio.Event()

    def put_away(self, leaving: Leaving) -> None:
        """It may go with the next append."""
        self._next = leaving
