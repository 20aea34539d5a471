"""What a worker notices, as it happens: for metrics, logs and tests. Durations are seconds.

The worker notifies, from its loop, the pulse's thread and those of agents, and knows no subscriber.
"""

from typing import Literal

from protocol.messages import Usage
from protocol.observers import Fanout
from protocol.plain import plain

Outcome = Literal["done", "user", "capacity", "transient", "bug", "released", "waiting", "dropped"]
"""How an agent's run ended: well, with a `Failure` of that kind, given back, suspended, or lost."""


@plain
class Offered:
    """The agents of this worker and its slots; sent once, before anything else."""

    agents: tuple[str, ...]
    slots: int


@plain
class Claimed:
    """One claim request was answered."""

    granted: int
    refused: int
    seconds: float


@plain
class ClaimUnanswered:
    """No leader answered a claim: its tasks go back to the bus."""

    tasks: int


@plain
class TaskStarted:
    agent: str


@plain
class TaskFinished:
    """An agent's run ended; its slot is free."""

    agent: str
    outcome: Outcome
    seconds: float
    usage: Usage


@plain
class StepReplayed:
    """A step was answered from the journal instead of being made again; what it had cost is saved."""

    agent: str
    usage: Usage


@plain
class Gauged:
    """An agent told a number about itself."""

    agent: str
    name: str
    value: float


@plain
class DiscoveryPublished:
    """A discovery left; `again` when its receipt was missing and it left once more."""

    again: bool


@plain
class ReceiptReceived:
    """The leader's word on a discovery, `seconds` after it first left."""

    verdict: Literal["settled", "stale"]
    seconds: float


@plain
class LeaseLost:
    """A held task moved on: its run was stopped, or its result will be refused."""

    agent: str


@plain
class PublishPending:
    """How many discoveries wait for their receipt, whenever that changed."""

    discoveries: int


@plain
class BusError:
    """Trouble of the connection that no caller waited for: it was lost, or something was refused."""


@plain
class Pulsed:
    """A heartbeat left, at this wall clock."""

    at_ms: int


@plain
class MessageRefused:
    """A message that cannot be accepted was refused: a task for ever, an order until it is sent again."""

    subject: str
    problem: str


@plain
class Draining:
    """No more claims; what runs is finished or given back."""


Observation = (
    Offered
    | Claimed
    | ClaimUnanswered
    | TaskStarted
    | TaskFinished
    | StepReplayed
    | Gauged
    | DiscoveryPublished
    | ReceiptReceived
    | LeaseLost
    | PublishPending
    | BusError
    | Pulsed
    | MessageRefused
    | Draining
)

Observers = Fanout[Observation]
