"""Connections to the servers that the settings name."""

from collections.abc import Callable

from coordinator.settings import Settings
from coordinator.stores import redis_address, redis_settings, store
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport, ignore

__all__ = ["nats_settings", "redis_address", "redis_settings", "store", "transport"]


def transport(
    settings: Settings,
    *,
    name: str = "coordinator",
    on_error: Callable[[Exception], None] = ignore,
    on_closed: Callable[[str], None] = ignore,
) -> JetStreamTransport:
    """The bus; open it with `async with`."""
    return JetStreamTransport(nats_settings(settings, name), on_error=on_error, on_closed=on_closed)


def nats_settings(settings: Settings, name: str) -> JetStreamSettings:
    nats = settings.nats
    return JetStreamSettings(
        nats.servers,
        name=name,
        user=nats.user,
        password=nats.password.get_secret_value(),
        inbox_prefix=nats.inbox_prefix,
        connect_timeout_seconds=nats.connect_timeout_seconds,
    )
