"""What a Redis server says about itself, and whether a store may trust it."""

import logging

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from blackboard.redis_link import RedisLink, exchange
from protocol.errors import StoreUnavailable

_log = logging.getLogger(__name__)

OLDEST = (7, 0)
"""PEXPIRE GT, SET NX GET and scripts with flags need it."""
WAITS_FOR_DISK = (7, 2)
"""WAITAOF needs it."""
KEY_MS = 60_000


async def facts(link: RedisLink) -> dict[str, str]:
    """Version, loading, memory and append-only settings, and what they make of durability."""
    info = await _info(link)
    found = {
        "version": info.get("redis_version", "unknown"),
        "loading": info.get("loading", "0"),
        "appendonly": "yes" if info.get("aof_enabled") == "1" else "no",
        "appendfsync": await _setting(link, "appendfsync"),
        "aof_last_write_status": info.get("aof_last_write_status", "unknown"),
        "maxmemory": info.get("maxmemory", "0"),
        "maxmemory_policy": info.get("maxmemory_policy", "unknown"),
        "used_memory": info.get("used_memory", "unknown"),
        "role": info.get("role", "unknown"),
    }
    always = found["appendonly"] == "yes" and found["appendfsync"] == "always"
    found["durability"] = "durable" if always else "accepted"
    return found


def check(found: dict[str, str]) -> None:
    """:raises StoreUnavailable: when the server may evict what it acknowledged, or is too old."""
    policy = found["maxmemory_policy"]
    if policy not in {"noeviction", "unknown"}:
        raise StoreUnavailable(
            "opening",
            f"maxmemory-policy is {policy}, so Redis may drop acknowledged data; "
            "set `maxmemory-policy noeviction` in redis.conf, or CONFIG SET it",
        )
    if found["version"] != "unknown" and _version(found) < OLDEST:
        raise StoreUnavailable("opening", f"Redis {found['version']} is too old; install 7.0 or newer")


def _version(found: dict[str, str]) -> tuple[int, ...]:
    """Major and minor; nothing where it is not known."""
    known = found["version"] != "unknown"
    return tuple(map(int, found["version"].split(".")[:2])) if known else ()


def can_sync(found: dict[str, str]) -> bool:
    """Whether the server can say that something is on its disk."""
    if found["durability"] == "durable":
        return True
    return found["appendonly"] == "yes" and _version(found) >= WAITS_FOR_DISK


async def sync(link: RedisLink, key: str) -> None:
    """Waits for the disk. The append-only file is one sequence, so a write that is there has all before it.

    :raises StoreUnavailable: when it is not there in time.
    """
    limit_ms = round(link.settings.timeout_seconds * 900)
    async with link.connection("sync") as connection:
        _, (synced, _) = await exchange(
            connection, [("SET", key, "1", "PX", KEY_MS), ("WAITAOF", 1, 0, limit_ms)]
        )
    if not synced:
        raise StoreUnavailable("sync", f"not on disk in {limit_ms / 1000:g} s")


class Restarts:
    """Has a server write its append-only file anew, once after each of its starts.

    A file that ends in the middle of a transaction is loaded without it; but its beginning stays in the file,
    and joins the next transaction when the server loads the file again. An append would then be made of two.
    """

    def __init__(self) -> None:
        self._known = ""

    async def greet(self, connection: AbstractConnection) -> None:
        try:
            (text,) = await exchange(connection, [("INFO", "server", "persistence")])
            info = _facts(text)
            if info.get("run_id", "") == self._known or info.get("loading") != "0":
                return
            self._known = info.get("run_id", "")
            if info.get("aof_enabled") == "1" and info.get("aof_last_rewrite_time_sec") == "-1":
                await exchange(connection, [("BGREWRITEAOF",)])
        except ResponseError as error:
            if "in progress" in str(error):
                return  # another client was first
            _log.warning("after a power loss have Redis write its append-only file anew: %s", error)


def _facts(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _info(link: RedisLink) -> dict[str, str]:
    return _facts(await link.call("ping", "INFO", "server", "persistence", "memory", "replication"))


async def _setting(link: RedisLink, name: str) -> str:
    """A line of the server's configuration; "unknown" where a managed server keeps it to itself."""
    try:
        reply = await link.call("ping", "CONFIG", "GET", name)
    except StoreUnavailable:
        return "unknown"
    return reply[1].decode() if reply else "unknown"
