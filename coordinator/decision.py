"""What comes into a decision and what goes out of it: commands, the environment, effects.

Everything here is data: decisions carry a message's `source` from command to effect and never look at it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from blackboard.events import Event
from protocol.messages import (
    AnswerRequest,
    ClaimRequest,
    DeadLetter,
    Lease,
    Receipt,
    Record,
    RecordRequest,
    Refusal,
    SwarmDiscovery,
)

Source = object
"""What a message is answered or settled by; decisions only pass it on."""


@dataclass(frozen=True, slots=True)
class Env:
    """What a decision may know besides the state: wall clock, fresh tokens, a draw from [0, 1)."""

    now_ms: int
    token: Callable[[], str]
    draw: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Claim:
    request: ClaimRequest
    source: Source


@dataclass(frozen=True, slots=True)
class Commit:
    discovery: SwarmDiscovery
    source: Source


@dataclass(frozen=True, slots=True)
class RecordSteps:
    request: RecordRequest
    source: Source


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a lease is taken back."""

    cause: Literal["silent", "restarted", "unlisted"]
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Leases of one worker's incarnation that are taken back, by task."""

    worker: str
    incarnation: str
    tasks: Mapping[str, Loss]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweeper's round: what the fleet shows, and the passing of time."""

    lost: Sequence[Lost] = ()


@dataclass(frozen=True, slots=True)
class Redispatch:
    """Queued tasks that are due again, then questions to agents; ahead of new work, while `room` lasts."""

    room: Mapping[str, int]
    total: int


@dataclass(frozen=True, slots=True)
class Visit:
    """One new visit of a direction of `agent`."""

    agent: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Whether a direction whose visit has just told its reward is worth another."""

    direction: str


@dataclass(frozen=True, slots=True)
class Conclude:
    """Whether exploration, or the run, is over."""


@dataclass(frozen=True, slots=True)
class Cancel:
    reason: str
    source: Source


@dataclass(frozen=True, slots=True)
class AnswerInquiry:
    request: AnswerRequest
    source: Source


@dataclass(frozen=True, slots=True)
class Lead:
    """A coordinator took the lead; `lost_events` as in `LeaderChanged`."""

    coordinator: str
    lost_events: int = 0


@dataclass(frozen=True, slots=True)
class Publish:
    """Put the dispatch of a task under this token on the bus."""

    task: str
    token: str


@dataclass(frozen=True, slots=True)
class AnswerClaim:
    """Answer a claim; the grants are completed with inputs and journal when they leave."""

    source: Source
    number: int
    granted: tuple[Lease, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    source: Source
    message: Record


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Settle a delivery: its consequences are committed."""

    source: Source


@dataclass(frozen=True, slots=True)
class SendReceipt:
    worker: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class SendDrop:
    worker: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class Bury:
    """Tell the operator of a dead letter."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the bus of an inquiry that is open, or of its answer."""

    inquiry: str


Command = (
    Claim
    | Commit
    | RecordSteps
    | Sweep
    | Redispatch
    | Visit
    | Judge
    | Conclude
    | Cancel
    | AnswerInquiry
    | Lead
)
Effect = Publish | AnswerClaim | Reply | Acknowledge | SendReceipt | SendDrop | Bury | Ring


@dataclass(slots=True)
class Decision:
    """Events to append, and effects to let out once they are appended."""

    events: list[Event] = field(default_factory=list[Event])
    effects: list[Effect] = field(default_factory=list[Effect])
