"""The circuit breakers of all providers, in a record that every coordinator may change."""

from collections.abc import Callable

from blackboard.store import BlackboardStore
from coordinator.breaker import closed
from coordinator.shared_record import SharedRecord
from protocol.errors import NotFound
from protocol.providers import Breaker, Breakers

QUIET_LIMIT = 100
"""Closed breakers that are kept; those that were closed longest ago go first."""

Change = Callable[[Breaker], Breaker]


class BreakerRecord(SharedRecord[Breakers]):
    """Reads and changes the record."""

    def __init__(self, store: BlackboardStore) -> None:
        super().__init__(store, "providers", Breakers)

    async def change(self, provider: str, change: Change, known: Breakers | None = None) -> Breakers:
        """Decides on the newest version (`known`, if it is) until that is written, or changes nothing."""
        record = known or await self.read()
        while True:
            before = record.of(provider)
            after = change(before)
            if after == before:
                return record
            others = [one for one in record.breakers if one.provider != provider]
            record = Breakers(number=record.number + 1, breakers=_kept([*others, after]))
            if await self.write(record):
                return record
            record = await self.read()

    async def close(self, provider: str, now_ms: int) -> Breakers:
        """Closes a breaker by hand. :raises NotFound: where no failure of such a provider is known."""
        record = await self.read()
        if all(one.provider != provider for one in record.breakers):
            raise NotFound("provider", provider)
        return await self.change(provider, lambda breaker: closed(breaker, now_ms), record)


def _kept(breakers: list[Breaker]) -> tuple[Breaker, ...]:
    """In the order of their providers, without the oldest that say nothing."""
    quiet = sorted((one for one in breakers if one.quiet), key=lambda one: one.changed_ms)
    gone = {one.provider for one in quiet[: max(0, len(quiet) - QUIET_LIMIT)]}
    kept = (one for one in breakers if one.provider not in gone)
    return tuple(sorted(kept, key=lambda one: one.provider))
