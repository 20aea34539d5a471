"""The simulated machine: the production coordinators and workers behind gates, under a plan of faults."""

import copy
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from hashlib import sha256

import anyio
from anyio.abc import TaskGroup

from agents.agent import Agent
from agents.identity import Identity
from agents.observations import Observers as WorkerObservers
from agents.pulse import LoopPulse
from agents.worker_core import Limits, Worker
from blackboard.memory import MemoryStore, Snapshot
from coordinator.observations import Observers
from coordinator.service import Coordinator
from coordinator.settings import Settings
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, TransportUnavailable
from protocol.messages import Control
from protocol.subjects import HEARTBEATS_STREAM
from protocol.transport.memory import MemoryBus
from tests.sim.gates import BusGate, Gate, StoreGate, digest
from tests.sim.loop import PROCESS, SeededLoop
from tests.sim.plan import COORDINATORS, PROCESSES, Fault

SETTINGS = Settings.model_validate(
    {"liveness": {"silence_seconds": 9, "heartbeat_seconds": 3, "grace_seconds": 4.5, "lease_seconds": 4}}
)
"""In the proportions of the defaults, but short: what a simulation costs is its idle time."""
WALL_MS = 1_700_000_000_000
JUMP_MS = 60_000
"""What waits for a moment waits longer when clocks go back: less than a simulation is given for its end."""
TRACE_KEPT = 200
COPIES_SECONDS = 2.0
"""How far back a store or bus may be rolled."""
BEGINNINGS = ("ensure", "last_per_subject", f"reading stream {HEARTBEATS_STREAM}")
"""What a coordinator asks of the bus before it serves; one that gets no answer ends, and is started again."""


def leaves(group: BaseExceptionGroup) -> list[BaseException]:
    """What a group is made of."""
    return [leaf for error in group.exceptions
            for leaf in (leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]  # fmt: skip


class Trace:
    """Everything that happened, as a hash, and its end as lines."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hash = sha256()
        self.lines: list[str] = []
        self.count = 0

    def __call__(self, who: str, what: str) -> None:
        line = f"{self._now() - 1000:9.4f} {who:5} {what}"
        self._hash.update(line.encode())
        self.count += 1
        self.lines.append(line)
        if len(self.lines) > 2 * TRACE_KEPT:
            del self.lines[:TRACE_KEPT]

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class FaultyBus(MemoryBus):
    """Does to each message what the plan says of its number."""

    def __init__(self, machine: "Machine") -> None:
        super().__init__()
        self._machine = machine
        self._sent = 0

    def send(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        answer: Callable[[bytes], None] | None = None,
    ) -> tuple[bool, bool]:
        self._sent += 1
        self._machine.first_sent.setdefault(data, anyio.current_time())
        act = self._machine.act_on_message(self._sent)
        self._machine.trace("bus", f"{subject} {digest(data)} {act}".rstrip())
        if not act:
            return super().send(subject, data, headers, answer)
        if act == "lose":
            return True, False
        stored = any(stream.takes(subject) for stream in self.streams.values())
        if act == "pretend":  # a confirmation that a crash forgets
            return True, stored
        if act == "corrupt":
            data = data[: len(data) // 2] + b"\x00"
        if act in ("repeat", "delay"):
            again = {**headers, "Nats-Msg-Id": f"again-{self._sent}"} if act == "repeat" else headers
            self._machine.later(lambda: MemoryBus.send(self, subject, data, again, answer))
            if act == "delay":
                return True, stored
        return super().send(subject, data, headers, answer)


@dataclass
class SimClock:
    """One process's clock: the wall may jump, time itself does not."""

    chance: random.Random
    offset_ms: int = 0

    def now_ms(self) -> int:
        return WALL_MS + self.offset_ms + round(anyio.current_time() * 1000)

    def token(self) -> str:
        return f"{self.chance.getrandbits(96):024x}"

    def draw(self) -> float:
        return self.chance.random()


@dataclass
class Machine:
    """Starts processes, lets the plan happen to them, and records what clients see."""

    loop: SeededLoop
    seed: int
    plan: Sequence[Fault]
    tasks: TaskGroup
    agents: Mapping[str, Agent] = field(default_factory=dict)
    settings: Settings = SETTINGS
    seen: list[dict] = field(default_factory=list)
    done: Counter = field(default_factory=Counter)
    """Faults that happened, by class."""
    calls: Counter = field(default_factory=Counter)
    """Calls by process and place."""
    ended: dict[str, dict] = field(default_factory=dict)
    """The final state, once it was read."""
    calm: bool = False
    first_sent: dict[bytes, float] = field(default_factory=dict)
    """When each message was sent, however late or often it arrives."""
    _gates: dict[str, Gate] = field(default_factory=dict)
    _scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)
    _clocks: dict[str, SimClock] = field(default_factory=dict)
    _stores: list[tuple[float, Snapshot]] = field(default_factory=list)
    _buses: list[tuple[float, dict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed} chance")
        self.trace = Trace(self.loop.time)
        self.store = MemoryStore()
        self.bus = FaultyBus(self)
        self._on_call = {(one.who, one.what.partition(": ")[2], int(one.when)): one.what.partition(": ")[0]
                         for one in self.plan if one.kind == "call"}  # fmt: skip
        self._on_message = {int(one.when): one.what for one in self.plan if one.kind == "message"}

    def record(self, op: str, **fields: object) -> None:
        """What a client saw."""
        self.seen.append({"at": anyio.current_time(), "op": op, **fields})

    # The plan

    def judge(self, process: str, place: str) -> str:
        self.calls[process, place] += 1
        act = "" if self.calm else self._on_call.get((process, place, self.calls[process, place]), "")
        if act:
            self._count(f"call: {act}", f"{act}: {place}")
        return act

    def act_on_message(self, number: int) -> str:
        act = "" if self.calm else self._on_message.get(number, "")
        if act:
            self._count(f"message: {act}", act)
        return act

    def later(self, do: Callable[[], object]) -> None:
        self.loop.call_later(self.chance.choice((0.01, 0.5, 3.0, 15.0)), do)

    def _count(self, kind: str, what: str) -> None:
        self.done[kind] += 1
        self.record("fault", kind=what)

    async def rage(self, seconds: float) -> None:
        """Lets happen what the plan says, then heals everything."""
        for fault in self.plan:
            if fault.kind == "step":
                self.loop.after_steps(fault.who, int(fault.when), lambda fault=fault: self._at_step(fault))
        moments = sorted((one for one in self.plan if one.kind == "moment"), key=lambda one: one.when)
        began, copied = anyio.current_time(), 0.0
        rollbacks = [began + one.when for one in moments if one.what == "roll back"]
        for fault in [*moments, None]:
            until = began + (fault.when if fault is not None else seconds)
            while (left := until - anyio.current_time()) > 0:
                await anyio.sleep(min(0.5, left))
                now = anyio.current_time()
                if any(0 <= moment - now <= COPIES_SECONDS for moment in rollbacks) and now - copied >= 0.5:
                    copied = now
                    self._keep_copies()
            if fault is not None:
                self._happen(fault)
        self.heal()

    def _keep_copies(self) -> None:
        now = anyio.current_time()
        self._stores = [one for one in self._stores if now - one[0] <= COPIES_SECONDS]
        self._buses = [one for one in self._buses if now - one[0] <= COPIES_SECONDS]
        self._stores.append((now, self.store.snapshot()))
        self._buses.append((now, copy.deepcopy(self.bus.streams)))

    def _at_step(self, fault: Fault) -> None:
        if not self.calm and fault.who in self._scopes:
            self._count("kill at any await", f"kill {fault.who} at step")
            self.kill(fault.who)

    def _happen(self, fault: Fault) -> None:
        who, gate = fault.who, self._gates.get(fault.who)
        kind = {"store": "store rolled back", "bus": f"{fault.what} bus"}.get(who, fault.what)
        self._count(kind, kind if who == "store" else f"{fault.what} {who}")
        self.trace("fault", str(fault))
        seconds = self.chance.choice((1.0, 3.0, 6.0, 15.0))
        match fault.what, who:
            case "kill", _:
                self.kill(who)
            case (("pause" | "long pause"), _):
                if who in self._scopes:  # or else it is dying, which it could not while it stands still
                    self.loop.pause(who)
                    self.loop.call_later(14.0 if fault.what == "long pause" else 3.0, self.loop.go_on, who)
            case "wipe", "bus":
                self.bus.streams.clear()
            case "roll back", "bus":
                del self._buses[1:]
                self.bus.streams = copy.deepcopy(self._buses[0][1])
            case "roll back", "store":
                self.store.restore(self._stores[0][1])
            case (("set the clock forward" | "set the clock back"), _):
                self._clocks[who].offset_ms += JUMP_MS if fault.what.endswith("forward") else -JUMP_MS
            case _ if gate is not None:
                gate.mute |= fault.what in ("mute", "isolate")
                gate.deaf |= fault.what in ("deafen", "isolate")
                gate.cut |= fault.what in ("isolate", "cut off the store") and who in COORDINATORS
                self.loop.call_later(seconds, self._mend, gate)
            case _:
                pass

    @staticmethod
    def _mend(gate: Gate) -> None:
        gate.mute = gate.deaf = gate.cut = False

    @property
    def set_back_seconds(self) -> float:
        """How far behind the slowest wall clock is: sleepers are delayed by as much."""
        return max(0.0, -min(clock.offset_ms for clock in self._clocks.values()) / 1000)

    def heal(self) -> None:
        """The faults stop: everybody runs, hears and is heard. Clocks stay as they are."""
        self.calm = True
        self.trace("fault", "all faults stop")
        self.wake_all()
        for name in PROCESSES:
            if name in self._gates:
                self._mend(self._gates[name])
            if name not in self._scopes:
                self.start(name)

    # Processes

    def wake_all(self) -> None:
        """Nobody is paused any more; whoever is cannot be cancelled, either."""
        for name in PROCESSES:
            self.loop.go_on(name)

    def start_all(self) -> None:
        for name in PROCESSES:
            self._clocks[name] = SimClock(random.Random(f"{self.seed} {name}"))
            self.start(name)

    def start(self, name: str) -> None:
        if name in self._scopes:
            return
        gate = self._gates[name] = Gate(name, self.judge, self.trace, self.kill)
        scope = self._scopes[name] = anyio.CancelScope()
        run = self._coordinator(name, gate) if name in COORDINATORS else self._worker(name, gate)

        async def scoped() -> None:
            with scope:
                try:
                    await run()
                except* TransportUnavailable as errors:
                    if any(one.operation not in BEGINNINGS for one in leaves(errors)):
                        raise
                    self.kill(name)  # as the command ends where it cannot begin

        def begin() -> None:
            PROCESS.set(name)
            gate.context = copy_context()
            self.tasks.start_soon(scoped, name=name)

        copy_context().run(begin)

    def kill(self, name: str) -> None:
        """As kill -9: nothing is said any more. Something starts it again soon."""
        scope = self._scopes.pop(name, None)
        if scope is None:
            return
        self.trace("fault", f"{name} dies")
        self._gates[name].dead = True
        self.loop.go_on(name)
        scope.cancel()
        self.loop.call_later(self.chance.choice((0.1, 1.0, 6.0)), self.start, name)

    def _coordinator(self, name: str, gate: Gate) -> Callable:
        return Coordinator(
            StoreGate(self.store, gate), BusGate(self.bus, gate), self.settings, self._clocks[name],
            Observers(), name=name,
        ).serve  # fmt: skip

    def _worker(self, name: str, gate: Gate) -> Callable:
        clock = self._clocks[name]
        transport = BusGate(self.bus, gate)
        observers = WorkerObservers()
        identity = Identity(name, clock.token(), "sim", clock.now_ms)
        pulse = LoopPulse(transport, self.settings.liveness.heartbeat_seconds, observers)
        gate.heard = lambda subject, data: self._receipts(name, subject, data)
        return Worker(identity, self.agents, transport, pulse, Limits(slots=2), observers, clock.draw).run

    def _receipts(self, name: str, subject: str, data: bytes) -> None:
        if not subject.startswith("swarm.control."):
            return
        try:
            control = decode_as(data, Control)
        except InvalidMessage:
            return
        sent = self.first_sent.get(data, anyio.current_time())
        told = [(task, token, "settled") for task, token in control.settled]
        for task, token, verdict in [*told, *((one.task, one.token, "stale") for one in control.stale)]:
            self.record("receipt", task=task, token=token, verdict=verdict, worker=name, sent=sent)
