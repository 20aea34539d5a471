"""Connections to the servers that the settings name."""

from collections.abc import Callable
from urllib.parse import quote, urlsplit, urlunsplit

from blackboard.redis import RedisStore
from blackboard.redis_link import RedisSettings
from coordinator.settings import Redis, Settings
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport, ignore


def store(settings: Settings) -> RedisStore:
    """The blackboard; open it with `async with`."""
    return RedisStore(redis_address(settings.redis), redis_settings(settings.redis))


def transport(
    settings: Settings,
    *,
    name: str = "coordinator",
    on_error: Callable[[Exception], None] = ignore,
    on_closed: Callable[[str], None] = ignore,
) -> JetStreamTransport:
    """The bus; open it with `async with`."""
    return JetStreamTransport(nats_settings(settings, name), on_error=on_error, on_closed=on_closed)


def redis_address(redis: Redis) -> str:
    """The store's URL with user and password in it; what the URL says itself wins."""
    parts = urlsplit(redis.url)
    password = redis.password.get_secret_value()
    if "@" in parts.netloc or not (redis.user or password):
        return redis.url
    credentials = f"{quote(redis.user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{credentials}@{parts.netloc}"))


def redis_settings(redis: Redis) -> RedisSettings:
    return RedisSettings(timeout_seconds=redis.timeout_seconds)


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
