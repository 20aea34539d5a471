"""The limits that are in use, as one small record of the store that every coordinator may change."""

from collections.abc import Sequence

from blackboard.store import BlackboardStore
from coordinator.settings import Limits
from coordinator.shared_record import SharedRecord
from protocol.limits import Kind, LimitTable, Quota, Quotas


class QuotaRecord(SharedRecord[Quotas]):
    """Reads and writes the record."""

    def __init__(self, store: BlackboardStore) -> None:
        super().__init__(store, "limits", Quotas)


def overview(record: Quotas, settings: Limits) -> Sequence[Quota]:
    """Every limit that is in use, or that the settings have; as coordinators use it, where they do."""
    kinds: tuple[tuple[Kind, LimitTable], ...] = (
        ("agent", LimitTable(settings.agents)),
        ("model", LimitTable(settings.models)),
    )
    known = {(one.kind, one.name) for one in record.quotas}
    unused = [
        Quota(kind=kind, name=name, **limit.model_dump())
        for kind, table in kinds
        for name, limit in table.limits.items()
        if (kind, name) not in known
    ]
    return sorted((*record.quotas, *unused), key=lambda one: (one.kind, one.name))
