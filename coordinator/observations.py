"""What a coordinator notices, as it happens: for metrics, logs and tests.

The core notifies and knows no subscriber. Observations may carry ids; metrics leave them out of labels.
Durations are seconds.
"""

from collections.abc import Sequence
from typing import Literal

from protocol.messages import Usage
from protocol.observers import Fanout
from protocol.plain import plain

EndState = Literal["done", "failed", "cancelled", "dead"]
RequeueCause = Literal[
    "silent",
    "restarted",
    "unlisted",
    "unclaimed",
    "released",
    "transient",
    "capacity",
    "answered",
    "paused",
    "stranded",
]
RefusedThing = Literal["claim", "result", "steps", "body", "request", "message", "run"]
RefusalReason = Literal["stale", "unknown", "conflict", "invalid", "overloaded", "not_durable"]
LeadEnd = Literal["released", "stale", "rolled_back", "unavailable", "failed"]


@plain
class LeaderGained:
    """A run is led from here on, `seconds` after its lease was taken: the time to load it.

    `lost_events` above 0: the store had come back older (a rollback incident).
    """

    run: str
    seconds: float
    lost_events: int = 0


@plain
class LeaderLost:
    """A run is no longer led from here: its gauges go with it."""

    run: str
    reason: LeadEnd


@plain
class Appended:
    """One group commit: events that became true together, and the time from send to confirmation."""

    run: str
    events: int
    seconds: float


@plain
class StoreRetry:
    """An append whose reply was lost, or a store that did not answer: the same call is made again."""

    run: str
    operation: str


@plain
class BusDrift:
    """A stream or consumer that was not as it must be, and what was done about it."""

    name: str
    remedy: Literal["created", "updated", "recreated"]


@plain
class Republished:
    """Open work that was published again because the bus may have lost it."""

    run: str
    tasks: int


@plain
class Dispatched:
    """Tasks went out together, for the first time or `again`."""

    agent: str
    again: bool
    tasks: int


@plain
class Claimed:
    """A worker holds tasks, each after so many seconds from its dispatch."""

    run: str
    agent: str
    wait_seconds: Sequence[float]


@plain
class Settled:
    """A task ended, `seconds` after its claim (after its dispatch where nobody claimed it)."""

    run: str
    agent: str
    status: EndState
    seconds: float
    reward: float
    usage: Usage
    """What the task spent besides its recorded steps."""
    priced: bool
    """Whether all that the task has cost is known."""


@plain
class Spent:
    """Steps were recorded that have cost something."""

    run: str
    agent: str
    usage: Usage


@plain
class Requeued:
    """A dispatch came to nothing; the task waits for the next."""

    run: str
    agent: str
    cause: RequeueCause


@plain
class Refused:
    """Something that was asked for or sent was turned away, with an answer that says why."""

    what: RefusedThing
    reason: RefusalReason


@plain
class WorkerSilent:
    """A run gave a worker up: it was silent past the limit, restarted, or no longer lists what it held."""

    run: str
    worker: str
    tasks: int


@plain
class Backlog:
    """How many tasks of an agent in a run stand where, whenever that changed (at most once a sweep)."""

    run: str
    agent: str
    queued: int
    dispatched: int
    running: int
    waiting: int = 0
    """For answers, held by nobody."""
    stranded: int = 0
    """Of those that nobody holds: tasks whose journal no living worker goes on from."""


@plain
class Directions:
    """How many directions of a run are open and retired (at most once a sweep)."""

    run: str
    open: int
    retired: int


@plain
class WorkersSeen:
    """The fleet as this coordinator sees it (at most once a sweep). `slots`: all, and those free."""

    alive: int
    busy: int
    draining: int
    silent: int
    slots: int
    free_slots: int


@plain
class ProviderSeen:
    """The circuit breaker of a provider, whenever any has changed."""

    provider: str
    closed: bool


@plain
class LimitSeen:
    """What is in use of a limit of an agent or a model in the whole swarm, and what more is wanted."""

    kind: Literal["agent", "model"]
    name: str
    in_use: int
    waiting: int


@plain
class OtherLimits:
    """How many coordinators were started with other limits of agents and models than this one."""

    coordinators: int


Observation = (
    LeaderGained
    | LeaderLost
    | Appended
    | StoreRetry
    | BusDrift
    | Republished
    | Dispatched
    | Claimed
    | Settled
    | Spent
    | Requeued
    | Refused
    | WorkerSilent
    | Backlog
    | Directions
    | WorkersSeen
    | ProviderSeen
    | LimitSeen
    | OtherLimits
)

Observers = Fanout[Observation]
