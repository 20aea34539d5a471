"""One small record of the store that every coordinator may change.

Each version of it has one writer: whoever comes second decides again on what the first has written. So no
coordinator must lead, none can do harm when it wakes up late, and the record survives all processes.
"""

from typing import Generic, TypeVar

from blackboard.store import BlackboardStore
from protocol.limits import Quotas
from protocol.providers import Breakers

Version = TypeVar("Version", Breakers, Quotas)


class SharedRecord(Generic[Version]):
    """Reads and writes the record of a name. :raises StoreUnavailable: from every method."""

    def __init__(self, store: BlackboardStore, name: str, model: type[Version]) -> None:
        self._store = store
        self._name = name
        self._model = model

    async def read(self) -> Version:
        """The newest version."""
        number, value = await self._store.shared(self._name)
        newest = self._model.model_validate_json(value) if value else self._model()
        return newest.model_copy(update={"number": number})

    async def write(self, version: Version) -> bool:
        """False where somebody has written this version."""
        return await self._store.share(self._name, version.number, version.model_dump_json().encode())
