"""Checks of nats-server and redis-server, as the settings name them."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from blackboard import redis_server
from blackboard.redis_link import RedisLink
from coordinator.connections import redis_address, redis_settings, store, transport
from coordinator.doctor.check import Check, version_of
from coordinator.embedded.probe import Introduction, introduction
from coordinator.records import Records
from coordinator.settings import Redis, Settings
from protocol.errors import StoreUnavailable, TransportUnavailable
from protocol.settings import mask_url
from protocol.transport.contract import StreamSpec, Transport

NATS_RECOMMENDED = (2, 12, 5)
REDIS_OLDEST = (7, 0)
CLOCK_SECONDS = 1.0
"""Skew up to here is no matter: expiry times and deadlines are coarser, leases use no wall clock."""
SCRATCH = StreamSpec(
    "SWARM_DOCTOR",
    ("swarm.doctor",),
    storage="memory",
    max_age_seconds=60,
    max_bytes=65_536,
    duplicate_window_seconds=60,
)
"""A stream of the doctor's own, to see whether streams may be created and published to."""
START_SERVERS = "start it, or let `coordinator up` start servers on this machine"


async def check_nats(settings: Settings) -> Sequence[Check]:
    """Reachable, version, JetStream, permissions."""
    found = [check for server in settings.nats.servers for check in await _introduced(server)]
    if all(check.status == "failed" for check in found):
        return found
    try:
        async with transport(settings, name="doctor") as bus:
            found.append(Check("nats credentials", "ok", settings.nats.user or "none needed"))
            return [*found, await _may_create(bus)]
    except TransportUnavailable as error:
        fix = "correct nats.user and nats.password"
        return [*found, Check("nats credentials", "failed", str(error), fix)]


async def _introduced(server: str) -> Sequence[Check]:
    parts = urlsplit(server)
    found = await introduction(parts.hostname or "", parts.port or 4222)
    if found is None:
        return [Check("nats", "failed", f"no nats-server answers at {mask_url(server)}", START_SERVERS)]
    return [
        Check("nats", "ok", f"{mask_url(server)} answers"),
        _nats_version(found.version),
        _jetstream(found),
    ]


def _nats_version(version: str) -> Check:
    if version_of(version) < NATS_RECOMMENDED:
        recommended = ".".join(map(str, NATS_RECOMMENDED))
        fix = f"upgrade to {recommended} or newer: older ones lost acknowledged messages, or whole streams"
        return Check("nats version", "warning", version, fix)
    return Check("nats version", "ok", version)


def _jetstream(found: Introduction) -> Check:
    if not found.jetstream:
        fix = "start nats-server with `jetstream {}` in its configuration"
        return Check("jetstream", "failed", "is off", fix)
    return Check("jetstream", "ok", "enabled")


async def _may_create(bus: Transport) -> Check:
    try:
        await bus.ensure([SCRATCH], [])
        await bus.publish("swarm.doctor", b"", message_id=f"doctor-{time.time_ns()}")
    except TransportUnavailable as error:
        fix = "give the coordinator's user all rights on swarm.> and $JS.API.>, and JetStream room on disk"
        return Check("nats permissions", "failed", str(error), fix)
    return Check("nats permissions", "ok", "streams can be created and published to")


async def check_redis(settings: Settings) -> Sequence[Check]:
    """Reachable, version, persistence, eviction, clock."""
    try:
        async with _link(settings.redis) as link:
            before = time.time()
            seconds, micros = await link.call("doctor", "TIME")
            after = time.time()
            found = await redis_server.facts(link)
    except StoreUnavailable as error:
        denied = any(word in str(error) for word in ("NOAUTH", "WRONGPASS", "password"))
        fix = "correct redis.user and redis.password" if denied else START_SERVERS
        return [Check("redis", "failed", str(error), fix)]
    skew = int(seconds) + int(micros) / 1e6 - (before + after) / 2
    return [
        Check("redis", "ok", f"{mask_url(settings.redis.url)} answers and takes the credentials"),
        _redis_version(found["version"]),
        _persistence(found),
        _eviction(found["maxmemory_policy"]),
        _clock(skew, (after - before) / 2),
    ]


def _redis_version(version: str) -> Check:
    if version_of(version)[:2] < REDIS_OLDEST:
        return Check("redis version", "failed", version, "upgrade to Redis 7.0 or newer")
    return Check("redis version", "ok", version)


def _persistence(found: dict[str, str]) -> Check:
    if found["appendonly"] != "yes":
        fix = "set `appendonly yes` in redis.conf: without it a restart forgets acknowledged work"
        return Check("redis persistence", "failed", "the append-only file is off", fix)
    if found["aof_last_write_status"] not in {"ok", "unknown"}:
        return Check(
            "redis persistence",
            "failed",
            "the last write to disk failed",
            "free disk space, then see redis's log",
        )
    detail = f"append-only, fsync {found['appendfsync']}: {found['durability']}"
    return Check("redis persistence", "ok", detail)


def _eviction(policy: str) -> Check:
    if policy in {"noeviction", "unknown"}:
        return Check("redis eviction", "ok", policy)
    return Check(
        "redis eviction", "failed", policy, "set `maxmemory-policy noeviction`: others drop acknowledged data"
    )


def _clock(skew: float, uncertainty: float) -> Check:
    detail = f"{skew:+.3f} s against the store (± {uncertainty:.3f} s)"
    if abs(skew) - uncertainty > CLOCK_SECONDS:
        return Check(
            "clock", "warning", detail, "synchronise the clocks of this machine and of the store's (NTP)"
        )
    return Check("clock", "ok", detail)


async def check_providers(settings: Settings) -> Check:
    """Whether calls of every provider go through."""
    try:
        async with store(settings) as opened:
            breakers = await Records(opened).breakers()
    except StoreUnavailable:
        return Check("providers", "skipped", "the store says it, and does not answer")
    held = [one for one in breakers if one.status != "closed"]
    if not held:
        return Check("providers", "ok", "no circuit breaker is open")
    detail = "; ".join(f"{one.provider} is {one.status.replace('_', ' ')}: {one.reason}" for one in held)
    fix = "see the provider's status page and your limits; calls go on by themselves once a probe goes well"
    return Check("providers", "warning", detail, fix)


@asynccontextmanager
async def _link(redis: Redis) -> AsyncGenerator[RedisLink]:
    link = RedisLink(redis_address(redis), redis_settings(redis))
    try:
        yield link
    finally:
        await link.aclose()
