"""What the verbs that change a run do first."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from coordinator import connections
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation
from coordinator.operating import OPERATOR_NAME, Operator
from protocol.errors import InvalidSettings

REASON_LENGTH = 500


@asynccontextmanager
async def operating(invocation: Invocation) -> AsyncGenerator[Operator]:
    """An operator of the runs that the settings lead to.

    :raises StoreUnavailable: when the store does not answer.
    :raises TransportUnavailable: when the bus does not.
    """
    settings = prepare(invocation).settings
    async with (
        connections.store(settings) as store,
        connections.transport(settings, name=OPERATOR_NAME) as transport,
    ):
        yield Operator(store, transport, settings)


def check_reason(reason: str | None, *, option: str = "--reason", limit: int = REASON_LENGTH) -> None:
    """:raises InvalidSettings: for a reason that is empty or too long."""
    if reason is not None and not 0 < len(reason) <= limit:
        raise InvalidSettings(option, f"is not 1 to {limit:,} characters", "say it in a sentence")
