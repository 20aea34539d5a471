"""What comes into a decision and what goes out of it: commands, the environment, effects.

Everything here is data: decisions carry a message's `source` from command to effect and never look at it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from blackboard.events import CondensedJournal, Event
from coordinator.builds import Offer
from protocol.messages import (
    AnswerRequest,
    CancelRequest,
    ClaimRequest,
    DeadLetter,
    Lease,
    PauseRequest,
    Record,
    RecordRequest,
    Refusal,
    RetryRequest,
    SwarmDiscovery,
)
from protocol.plain import plain

Source = object
"""What a message is answered or settled by; decisions only pass it on."""


@plain
class Env:
    """What a decision may know besides the state: wall clock, fresh tokens, a draw from [0, 1)."""

    now_ms: int
    token: Callable[[], str]
    draw: Callable[[], float]


@plain
class Claim:
    request: ClaimRequest
    source: Source


@plain
class Commit:
    discovery: SwarmDiscovery
    source: Source


@plain
class RecordSteps:
    """`on_disk`: the answer waits for the disk, since an effect that cannot be repeated follows it."""

    request: RecordRequest
    source: Source
    on_disk: bool = False


@plain
class Loss:
    """Why a lease is taken back."""

    cause: Literal["silent", "restarted", "unlisted"]
    reason: str


@plain
class Lost:
    """Leases of one worker's incarnation that are taken back, by task."""

    worker: str
    incarnation: str
    tasks: Mapping[str, Loss]


@plain
class Sweep:
    """The sweeper's round: what the fleet shows, and the passing of time."""

    lost: Sequence[Lost] = ()
    stranded: Sequence[str] = ()
    """Dispatched tasks whose journals no living worker goes on from any more."""


@plain
class Redispatch:
    """Queued tasks that are due again, then questions to agents; ahead of new work, while `room` lasts.

    Tasks that need a provider of `shut` stay where they are, but for one of each of `due`: it probes.
    """

    room: Mapping[str, int]
    total: int
    shut: frozenset[str] = frozenset()
    due: frozenset[str] = frozenset()
    offers: Sequence[Offer] | None = None
    """What the workers are that may be given work; None where a journal bars nobody."""


@plain
class Visit:
    """One new visit of a direction of `agent`."""

    agent: str


@plain
class Judge:
    """Whether a direction whose visit has just told its reward is worth another."""

    direction: str


@plain
class Conclude:
    """Whether exploration, or the run, is over."""


@plain
class Cancel:
    request: CancelRequest
    source: Source


@plain
class Stopped:
    """A worker no longer runs these tasks, which were cancelled while it did."""

    tasks: Sequence[str]


@plain
class Pause:
    """Nothing new may begin, or (`paused` false) may again."""

    request: PauseRequest
    source: Source


@plain
class Retry:
    """Tasks that ended without a result begin again; an ended run is reopened by it."""

    request: RetryRequest
    source: Source


@plain
class Condense:
    """Keep of these journals no more than what is kept of tasks that have ended well."""

    journals: Sequence[CondensedJournal]


@plain
class AnswerInquiry:
    request: AnswerRequest
    source: Source


@plain
class Lead:
    """A coordinator took the lead; `lost_events` as in `LeaderChanged`."""

    coordinator: str
    lost_events: int = 0


@plain
class Publish:
    """Put the dispatch of a task under this token on the bus."""

    task: str
    token: str


@plain
class AnswerClaim:
    """Answer a claim; the grants are completed with inputs and journal when they leave."""

    source: Source
    number: int
    granted: tuple[Lease, ...]
    refused: tuple[Refusal, ...]


@plain
class Reply:
    source: Source
    message: Record


@plain
class ReplyOnceOnDisk:
    """A reply that says something which no power loss may take back."""

    source: Source
    message: Record


@plain
class Acknowledge:
    """Settle a delivery: its consequences are committed."""

    source: Source


@plain
class SendReceipt:
    """A worker's discovery is settled, now or before."""

    worker: str
    task: str
    token: str


@plain
class SendRefusal:
    """A worker's discovery is stale."""

    worker: str
    refusal: Refusal


@plain
class SendDrop:
    worker: str
    lease: Lease


@plain
class Bury:
    """Tell the operator of a dead letter."""

    letter: DeadLetter


@plain
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
    | Stopped
    | Pause
    | Retry
    | AnswerInquiry
    | Condense
    | Lead
)
Effect = (
    Publish
    | AnswerClaim
    | Reply
    | ReplyOnceOnDisk
    | Acknowledge
    | SendReceipt
    | SendRefusal
    | SendDrop
    | Bury
    | Ring
)


@dataclass(slots=True)
class Decision:
    """Events to append, and effects to let out once they are appended."""

    events: list[Event] = field(default_factory=list[Event])
    effects: list[Effect] = field(default_factory=list[Effect])
