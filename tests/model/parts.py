"""What a state of the small world is made of: messages, workers, coordinators; and numbers for them."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from blackboard.spec import RunSpec
from coordinator.decision import (
    AnswerClaim,
    Claim,
    Commit,
    Effect,
    Publish,
    SendDrop,
    SendReceipt,
    SendRefusal,
)
from protocol.messages import ClaimRequest, Failure, Held, Lease, SwarmDiscovery, SwarmHeartbeat

WORKERS = ("w1", "w2")
COORDINATORS = ("c1", "c2")


@dataclass(frozen=True)
class Bounds:
    """How large the world is."""

    spec: RunSpec
    outcomes: tuple[str, ...] = ("done",)
    """How an execution may end: done, released, or with a failure of that kind."""
    crashes: int = 2
    """Deaths and pauses of processes, and workers that are taken for silent, in all."""
    bus_faults: int = 2
    """Messages lost, repeated, or taken for lost too early, in all."""
    bus: int = 3
    """Messages under way at once."""
    group: int = 2
    """Commands of one append."""
    effects_wait: bool = True
    """False plants an error of the shell: effects leave before the append."""


class Message(NamedTuple):
    """What travels. `kind`: task, claim, grant, refusal, result, or a receipt's verdict."""

    kind: str
    task: str
    token: str
    worker: str = ""
    incarnation: int = 0
    outcome: str = ""

    def __str__(self) -> str:
        whose = f" of {self.worker}" if self.kind in ("claim", "result") else ""
        to = f" for {self.worker}" if self.worker and not whose else ""
        return f"{self.kind}{whose} {self.token[-6:]} {self.outcome}".rstrip() + to


class Worker(NamedTuple):
    """A worker of one slot. `doing`: idle, claims, runs, or the outcome that waits for its receipt."""

    incarnation: int = 1
    doing: str = "idle"
    task: str = ""
    token: str = ""


class Leading(NamedTuple):
    """A coordinator that takes itself for the leader."""

    current: bool
    """Nobody else has appended since it read the rows: its head is the store's."""
    appended: bool
    """The store has its group, and it has not let the effects out yet."""
    commands: int
    run: int
    effects: tuple[Message, ...] = ()


class State(NamedTuple):
    run: int
    owner: int
    """Whose token the store holds: 0 for nobody's, else the coordinator's number from 1."""
    first: int
    second: int
    worker1: int
    worker2: int
    bus: int
    faults: int
    """How many are left, of both kinds."""


class Parts:
    """Numbers for whatever is hashable; 0 is the first."""

    def __init__(self, first: Hashable) -> None:
        self.known: list = []
        self._numbers: dict[Hashable, int] = {}
        self.number(first)

    def number(self, part: Hashable) -> int:
        number = self._numbers.get(part)
        if number is None:
            number = self._numbers[part] = len(self.known)
            self.known.append(part)
        return number


def result(worker: str, at: Worker) -> Message:
    return Message("result", at.task, at.token, worker, at.incarnation, at.doing)


def command(run: str, message: Message) -> Claim | Commit:
    """What a message asks a leader for."""
    lease = Lease(task=message.task, token=message.token)
    sender = {"worker": message.worker, "incarnation": str(message.incarnation)}
    if message.kind == "claim":
        return Claim(ClaimRequest(number=1, leases=(lease,), **sender), message)
    fields: dict[str, object] = {"outcome": message.outcome, "reward": 0.5}
    if message.outcome not in ("done", "released"):
        fields = {"outcome": "failed", "failure": Failure(kind=message.outcome, message="no")}
    return Commit(
        SwarmDiscovery.model_validate({"run": run, **sender, **lease.model_dump(), **fields}), message
    )


def messages(effects: tuple[Effect, ...]) -> tuple[Message, ...]:
    """What effects put on the bus; replies to operators and dead letters stay out of this world."""
    found: list[Message] = []
    for effect in effects:
        match effect:
            case Publish(task, token):
                found.append(Message("task", task, token))
            case AnswerClaim(source, _, granted, refused):
                assert isinstance(source, Message)
                to = (source.worker, source.incarnation)
                found += [Message("grant", one.task, one.token, *to) for one in granted]
                found += [Message("refusal", one.task, one.token, *to) for one in refused]
            case SendReceipt(worker, task, token):
                found.append(Message("settled", task, token, worker))
            case SendRefusal(worker, refusal):
                found.append(Message("stale", refusal.task, refusal.token, worker))
            case SendDrop(worker, lease):
                found.append(Message("drop", lease.task, lease.token, worker))
            case _:
                pass
    return tuple(found)


def beat(name: str, worker: Worker, run: str) -> SwarmHeartbeat:
    """The worker's pulse. Claims all have the number 1: it is through with it unless one is under way."""
    held = ()
    if worker.doing not in ("idle", "claims"):
        state = "running" if worker.doing == "runs" else "finished"
        held = (Held(run=run, task=worker.task, token=worker.token, state=state),)
    return SwarmHeartbeat(
        worker=name,
        incarnation=str(worker.incarnation),
        slots=1,
        held=held,
        claims_through=int(worker.doing != "claims"),
        sent_ms=1_000_000,
    )
