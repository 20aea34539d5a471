"""What goes wrong in a simulation, and when: drawn from the seed before it starts."""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

COORDINATORS = ("c1", "c2")
WORKERS = ("w1", "w2", "w3")
PROCESSES = (*COORDINATORS, *WORKERS)
RAGE_SECONDS = 20.0
ROLLBACK_SECONDS = 3.0
"""No earlier than this: a store that comes back without a run has to be asked for it again."""


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
OFTEN: Mapping[str, Mapping[str, int]] = {
    "coordinator": {
        "store.append": 31, "store.acquire": 14, "store.runs": 42, "store.shared": 33, "store.artifacts": 7,
        "store.load": 2, "store.rows": 2, "store.release": 1, "store.finish": 1, "store.query": 1,
        "bus.ensure": 17, "bus.pending": 1, "bus.last_per_subject": 1, "bus.delete_consumer": 1,
        "bus.publish_all tasks": 11, "bus.emit control": 19, "bus.emit demand": 6, "bus.reply claim": 13,
        "bus.reply record": 12, "bus.reply query": 1, "bus.emit inquiry": 1, "bus.emit response": 1,
        "bus.publish dead": 1, "bus.ack": 14,
    },
    "worker": {
        "bus.request claim": 9, "bus.request record": 7, "bus.request query": 1, "bus.emit discoveries": 8,
        "bus.publish discoveries": 1, "bus.emit heartbeat": 18, "bus.ack": 9, "bus.nak": 2,
    },
}  # fmt: skip
"""How often a process makes which call in a usual simulation: a fault at a later one would not happen."""
MESSAGES_SENT = 260
"""How many messages a usual simulation sends."""
ACTS = ("fail", "timeout", "slow", "kill", "kill after")
MESSAGES = ("lose", "repeat", "delay", "corrupt", "pretend")


class Weather(NamedTuple):
    """How many faults a seed gets, from and below."""

    moments: tuple[int, int]
    calls: tuple[int, int]
    messages: tuple[int, int]
    points: tuple[int, int]
    """Calls, where a seed has nothing else."""


FAIR = Weather(moments=(3, 7), calls=(8, 16), messages=(15, 35), points=(20, 40))
FOUL = Weather(moments=(6, 12), calls=(20, 40), messages=(50, 100), points=(60, 120))
"""So many that little gets done before they stop; then everything has to be put right."""


def random_faults(seed: int) -> Sequence[Fault]:
    """Everything at once: deaths, pauses, partitions, clocks, calls, messages."""
    chance = random.Random(seed)
    weather = _weather(seed)
    found = [_moment(chance) for _ in range(chance.randrange(*weather.moments))]
    found += [_call(chance) for _ in range(chance.randrange(*weather.calls))]
    found += [
        Fault("message", "bus", chance.choice(MESSAGES), number)
        for number in chance.sample(range(1, MESSAGES_SENT + 1), chance.randrange(*weather.messages))
    ]
    found += [
        Fault("step", chance.choice(PROCESSES), "kill", chance.randrange(50, 1_500))
        for _ in range(chance.randrange(3))
    ]
    return sorted(found)


def faults_at_points(seed: int) -> Sequence[Fault]:
    """Each in a call of the code's own."""
    chance = random.Random(seed)
    return sorted(_call(chance) for _ in range(chance.randrange(*_weather(seed).points)))


def _weather(seed: int) -> Weather:
    return FOUL if seed % 4 > 1 else FAIR


def _moment(chance: random.Random) -> Fault:
    """Sooner rather than later, while there is work; but what is rolled back has to be there."""
    what, who = chance.choice(MOMENTS)
    earliest = ROLLBACK_SECONDS if what == "roll back" else 0.3
    return Fault("moment", who, what, round(chance.triangular(earliest, RAGE_SECONDS, 3.0), 2))


def _call(chance: random.Random) -> Fault:
    who = chance.choice(PROCESSES)
    often = OFTEN["coordinator" if who in COORDINATORS else "worker"]
    place = chance.choice(tuple(often))
    return Fault("call", who, f"{chance.choice(ACTS)}: {place}", chance.randint(1, often[place]))
