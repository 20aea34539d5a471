"""What the leaders of one coordinator share: servers, clock, fleet, and the way messages leave."""

from dataclasses import dataclass, field
from itertools import count

import anyio

from blackboard.store import BlackboardStore
from coordinator.allowances import Allowances
from coordinator.builds import Offer
from coordinator.clock import Clock
from coordinator.gates import Gates
from coordinator.heads import Heads
from coordinator.liveness import Fleet
from coordinator.observations import Observers
from coordinator.settings import Settings
from protocol import subjects
from protocol.codec import encode
from protocol.errors import AuthorError, FenceError, Overloaded, SwarmError, UserError
from protocol.messages import Control, ErrorReply, Record
from protocol.transport.contract import Message, Transport


@dataclass(slots=True)
class Shares:
    """What the fleet offers now, as the service last computed it."""

    runs: dict[str, int] = field(default_factory=dict[str, int])
    """Tasks that each run may have under way at once."""
    offered: dict[str, int] = field(default_factory=dict[str, int])
    """Slots of the workers that offer each agent."""
    offers: tuple[Offer, ...] = ()
    """Those workers."""
    bell: anyio.Event = field(default_factory=anyio.Event)
    """Rung where they should be computed at once."""


@dataclass(slots=True)
class Post:
    """Encodes and sends, with ids that are unique by incarnation and number."""

    transport: Transport
    clock: Clock
    name: str
    incarnation: str
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def sealed(self, message: Record, target: str = "") -> tuple[str, bytes]:
        """A fresh message id and the encoded envelope."""
        message_id = f"{self.incarnation}-{next(self._numbers)}"
        data = encode(
            message, source=self.name, target=target, message_id=message_id, time_ms=self.clock.now_ms()
        )
        return message_id, data

    def reply(self, request: Message, message: Record) -> None:
        request.reply(self.sealed(message)[1])

    def refuse(self, request: Message, error: SwarmError) -> None:
        """Answers with who must act."""
        request.reply(self.sealed(error_reply(error))[1])

    def control(self, worker: str, message: Control) -> None:
        self.transport.emit(subjects.control(worker), self.sealed(message, worker)[1])


def error_reply(error: SwarmError) -> ErrorReply:
    retry_after = error.retry_after_seconds if isinstance(error, Overloaded) else None
    blame = "operator"
    if isinstance(error, UserError):
        blame = "user"
    elif isinstance(error, FenceError):
        blame = "fence"
    elif isinstance(error, AuthorError):
        blame = "author"
    return ErrorReply(error=blame, message=str(error), retry_after_seconds=retry_after)


@dataclass(frozen=True, slots=True)
class Office:
    """Handed to every leader; owned by the service."""

    store: BlackboardStore
    transport: Transport
    clock: Clock
    settings: Settings
    fleet: Fleet
    observers: Observers
    post: Post
    shares: Shares
    heads: Heads
    gates: Gates
    allowances: Allowances
