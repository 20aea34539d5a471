"""The classes of faults, by name."""

from collections.abc import Awaitable, Callable, Mapping

from tests.chaos.scene import COORDINATORS, Scene
from tests.crash.hive import FAST
from tests.support.clocks import library
from tests.support.disks import may_trace
from tests.support.proxy import Proxy

SILENCE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_SILENCE_SECONDS"])
LEASE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_LEASE_SECONDS"])

FAULTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "kill a worker": lambda scene: scene.kill(scene.any_worker()),
    "kill a coordinator": lambda scene: scene.kill(scene.any_coordinator()),
    "freeze a worker for a moment": lambda scene: scene.freeze(
        scene.any_worker(), scene.chance.uniform(0.2, 2)
    ),
    "freeze a worker past its silence": lambda scene: scene.freeze(scene.any_worker(), SILENCE_SECONDS + 2),
    "freeze a coordinator past its lease": lambda scene: scene.freeze(
        scene.any_coordinator(), LEASE_SECONDS + 2
    ),
    "kill the bus": lambda scene: scene.kill_server(scene.hive.nats),
    "kill the store": lambda scene: scene.kill_server(scene.hive.redis),
    "freeze the bus": lambda scene: scene.freeze_server(scene.hive.nats),
    "freeze the store": lambda scene: scene.freeze_server(scene.hive.redis),
    "cut off the bus": lambda scene: scene.disturb("NatsServer", Proxy.cut, 2),
    "cut off the store": lambda scene: scene.disturb("RedisServer", Proxy.cut, 2),
    "swallow requests to the bus": lambda scene: scene.disturb(
        "NatsServer", lambda way: way.swallow("requests"), 3
    ),
    "swallow replies of the store": lambda scene: scene.disturb(
        "RedisServer", lambda way: way.swallow("replies"), 3
    ),
    "delay replies of the store": lambda scene: scene.disturb("RedisServer", lambda way: way.delay(0.3), 2),
    "drop replies of the store": lambda scene: scene.disturb(
        "RedisServer", lambda way: way.drop_replies(2), 0.5
    ),
    "split the bytes of the bus": lambda scene: scene.disturb("NatsServer", Proxy.split, 2),
    "split the bytes of the store": lambda scene: scene.disturb("RedisServer", Proxy.split, 2),
    "merge the bytes of the bus": lambda scene: scene.disturb("NatsServer", Proxy.merge, 2),
    "merge the bytes of the store": lambda scene: scene.disturb("RedisServer", Proxy.merge, 2),
    "put back the bus": Scene.put_back_the_bus,
}
DISKS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "fill the disk of the store": Scene.fill_the_disk,
    "fail an fsync of the store": Scene.fail_the_fsync,
}
"""Where `may_trace`."""
CLOCKS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "set a worker's clock": lambda scene: scene.set_clock(scene.chance.choice(scene.worker_names)),
    "set a coordinator's clock": lambda scene: scene.set_clock(scene.chance.choice(COORDINATORS)),
    "set the store's clock": lambda scene: scene.set_clock("store"),
}
"""Where there is a library that deceives about them."""
VERSIONS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "replace a worker by the other version": lambda scene: scene.replace(scene.worker_names),
    "replace a coordinator by the other version": lambda scene: scene.replace(COORDINATORS),
}
"""Where there is one."""
LONG: Mapping[str, Callable[[Scene, float], Awaitable[None]]] = {
    "freeze a worker for long": lambda scene, seconds: scene.freeze(scene.any_worker(), seconds),
    "freeze a coordinator for long": lambda scene, seconds: scene.freeze(scene.any_coordinator(), seconds),
}
"""For as many seconds as are given: while one stands still, all else happens to the others."""
ROLLBACK: Mapping[str, Callable[[Scene], Awaitable[None]]] = {"cut the store": Scene.cut_the_store}
"""After this, runs go on from a prefix, and what was seen before is judged no more: early, and by itself."""


def possible(scene: Scene) -> list[str]:
    """The classes of faults that can be caused here, those aside that have a side of their own."""
    names = set(FAULTS)
    names |= set(DISKS if may_trace() else ())
    names |= set(CLOCKS if library() else ())
    names |= set(VERSIONS if scene.other else ())
    return sorted(names)
