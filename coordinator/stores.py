"""The store that the settings name, for commands that read it and need no bus."""

from urllib.parse import quote, urlsplit, urlunsplit

from blackboard.redis import RedisStore
from blackboard.redis_link import RedisSettings
from coordinator.settings import Redis, Settings


def store(settings: Settings) -> RedisStore:
    """The blackboard; open it with `async with`."""
    return RedisStore(redis_address(settings.redis), redis_settings(settings.redis))


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
