"""The circuit breakers of all providers, as one small record of the store that every coordinator may change.

Each version of the record has one writer: whoever comes second decides again on what the first has written.
So no coordinator must lead, none can do harm when it wakes up late, and the record survives all processes.
"""

from collections.abc import Callable

from blackboard.store import BlackboardStore
from coordinator.breaker import closed
from protocol.errors import NotFound
from protocol.providers import Breaker, Breakers

NAME = "providers"
QUIET_LIMIT = 100
"""Closed breakers that are kept; those that were closed longest ago go first."""

Change = Callable[[Breaker], Breaker]


class BreakerRecord:
    """Reads and changes the record.

    :raises StoreUnavailable: from every method.
    """

    def __init__(self, store: BlackboardStore) -> None:
        self._store = store

    async def read(self) -> Breakers:
        number, value = await self._store.shared(NAME)
        breakers = Breakers.model_validate_json(value).breakers if value else ()
        return Breakers(number=number, breakers=breakers)

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
            if await self._store.share(NAME, record.number, record.model_dump_json().encode()):
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
