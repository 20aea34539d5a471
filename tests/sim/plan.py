"""What goes wrong in a simulation, and when: drawn from the seed before it starts."""

import random
from collections.abc import Sequence
from typing import NamedTuple

COORDINATORS = ("c1", "c2")
WORKERS = ("w1", "w2", "w3")
PROCESSES = (*COORDINATORS, *WORKERS)
RAGE_SECONDS = 20.0


class Fault(NamedTuple):
    """`kind` and `what` say what happens; `who` to whom; `when` counts seconds, calls, messages or steps."""

    kind: str
    who: str
    what: str
    when: float

    def __str__(self) -> str:
        unit = {"moment": "s", "call": "th call", "message": "th message", "step": "th step"}[self.kind]
        return f"{self.what} {self.who} at the {self.when:g}{unit}".replace("the ", "", self.kind == "moment")


MOMENTS = (
    *(("kill", who) for who in PROCESSES),
    *(("pause", who) for who in PROCESSES),
    *(("long pause", who) for who in PROCESSES),
    *(("mute", who) for who in PROCESSES),
    *(("deafen", who) for who in PROCESSES),
    *(("isolate", who) for who in PROCESSES),
    *(("cut off the store", who) for who in COORDINATORS),
    *(("set the clock forward", who) for who in PROCESSES),
    *(("set the clock back", who) for who in PROCESSES),
    *(("wipe", "bus"),) * 3,
    *(("roll back", "bus"),) * 3,
    *(("roll back", "store"),) * 3,
)
"""What may happen at a moment; it is healed some seconds later."""
STORE_CALLS = ("append", "acquire", "runs", "load", "rows", "artifacts", "release", "head", "finish")
BUS_CALLS = ("ensure", "pending", "publish discoveries", "request claim", "request record", "request query")
BUS_SAYS = (
    "publish_all tasks", "emit discoveries", "emit control", "emit heartbeat",
    "reply claim", "reply record", "ack",
)  # fmt: skip
ACTS = ("fail", "timeout", "slow", "kill", "kill after")
MESSAGES = ("lose", "repeat", "delay", "corrupt", "pretend")


def random_faults(seed: int) -> Sequence[Fault]:
    """Everything at once: deaths, pauses, partitions, clocks, calls, messages."""
    chance = random.Random(seed)
    found = [_moment(chance) for _ in range(chance.randrange(2, 8))]
    found += [_call(chance) for _ in range(chance.randrange(8))]
    found += [
        Fault("message", "bus", chance.choice(MESSAGES), chance.randrange(1200))
        for _ in range(chance.randrange(40))
    ]
    found += [
        Fault("step", chance.choice(PROCESSES), "kill", chance.randrange(50, 4000))
        for _ in range(chance.randrange(3))
    ]
    return sorted(found)


def faults_at_points(seed: int) -> Sequence[Fault]:
    """A few faults, each in a call of the code's own."""
    chance = random.Random(seed)
    return sorted(_call(chance) for _ in range(chance.randrange(3, 25)))


def _moment(chance: random.Random) -> Fault:
    what, who = chance.choice(MOMENTS)
    return Fault("moment", who, what, round(chance.uniform(0.5, RAGE_SECONDS), 2))


def _call(chance: random.Random) -> Fault:
    act = chance.choice(ACTS)
    place = chance.choice(("store", "bus", "says"))
    if place == "store":
        who, what = chance.choice(COORDINATORS), f"store.{chance.choice(STORE_CALLS)}"
    elif place == "bus":
        who, what = chance.choice(PROCESSES), f"bus.{chance.choice(BUS_CALLS)}"
    else:
        who, what = chance.choice(PROCESSES), f"bus.{chance.choice(BUS_SAYS)}"
    return Fault("call", who, f"{act}: {what}", int(chance.expovariate(1 / 12)) + 1)
