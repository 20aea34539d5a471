"""The limits that are in use, as one small record of the store that every coordinator may change."""

from collections.abc import Sequence

from blackboard.store import BlackboardStore
from coordinator.settings import Limits
from protocol.limits import Kind, LimitTable, Quota, Quotas

NAME = "limits"


class QuotaRecord:
    """Reads and writes the record. :raises StoreUnavailable: from every method."""

    def __init__(self, store: BlackboardStore) -> None:
        self._store = store

    async def read(self) -> Quotas:
        """The newest version."""
        number, value = await self._store.shared(NAME)
        return Quotas.model_validate_json(value).model_copy(update={"number": number}) if value else Quotas()

    async def write(self, quotas: Quotas) -> bool:
        """False where somebody has written this version."""
        return await self._store.share(NAME, quotas.number, quotas.model_dump_json().encode())


def overview(record: Quotas, settings: Limits) -> Sequence[Quota]:
    """Every limit that is in use, or that the settings have; as coordinators use it, where they do."""
    kinds: tuple[tuple[Kind, LimitTable], ...] = (
        ("agent", LimitTable(settings.agents)),
        ("model", LimitTable(settings.models)),
    )
    known = {(one.kind, one.name) for one in record.quotas}
    unused = [
        Quota(kind=kind, name=name, concurrent=limit.concurrent, per_minute=limit.per_minute)
        for kind, table in kinds
        for name, limit in table.limits.items()
        if (kind, name) not in known
    ]
    return sorted((*record.quotas, *unused), key=lambda one: (one.kind, one.name))
