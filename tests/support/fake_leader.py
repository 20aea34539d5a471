"""A scripted leader: speaks the coordinator's side of the protocol, and does what a test tells it.

By default every claim is granted, every step recorded and every discovery settled. A test replaces one of
the `on_…` callables to do otherwise; an answer of None is no answer.
"""

import base64
import hashlib
import itertools
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from coordinator import topology
from protocol import subjects
from protocol.artifacts import Artifact
from protocol.codec import decode, encode
from protocol.limits import PermitReply, PermitRequest
from protocol.messages import (
    CHUNK_BYTES,
    ClaimReply,
    ClaimRequest,
    Control,
    GetReply,
    GetRequest,
    Grant,
    Lease,
    PutReply,
    PutRequest,
    QueryReply,
    QueryRequest,
    Record,
    RecordReply,
    RecordRequest,
    Step,
    StepsReply,
    StepsRequest,
    SwarmDiscoveries,
    SwarmDiscovery,
    SwarmHeartbeat,
    SwarmTask,
)
from protocol.providers import Breakers, ProviderReply, ProviderReport
from protocol.transport.contract import Delivery, Message, Puller, Transport

DISCOVERY_CREDITS = 1000


@dataclass
class FakeLeader:
    transport: Transport
    run: str = "run-1"
    agents: tuple[str, ...] = ("echo",)
    tasks: dict[str, SwarmTask] = field(default_factory=dict)
    """Every task dispatched, by token."""
    extra: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Further fields of grants, by token."""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    steps_after: list[Step] = field(default_factory=list)
    """What `steps` answers: the journal beyond the first page."""
    first_page: int = 0
    """Steps that came with the grant already."""
    claims: list[ClaimRequest] = field(default_factory=list)
    records: list[RecordRequest] = field(default_factory=list)
    discoveries: list[SwarmDiscovery] = field(default_factory=list)
    messages: int = 0
    """How many messages brought discoveries."""
    beats: list[SwarmHeartbeat] = field(default_factory=list)
    puts: list[PutRequest] = field(default_factory=list)
    gets: list[GetRequest] = field(default_factory=list)
    reports: list[ProviderReport] = field(default_factory=list)
    permits: list[PermitRequest] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.on_claim: Callable[[ClaimRequest], Record | None] = self.grant_all
        self.on_record: Callable[[RecordRequest], Record | None] = self.record_all
        self.on_put: Callable[[PutRequest], Record | None] = self.store_chunk
        self.on_report: Callable[[ProviderReport], Record] = lambda _: ProviderReply(breakers=Breakers())
        self.on_permits: Callable[[PermitRequest], Record] = self.limit_nothing
        self.on_discovery: Callable[[SwarmDiscovery], Control | None] = self.settle
        self._numbers = itertools.count(1)
        self._puller: Puller | None = None
        self._partial: dict[str, bytearray] = {}

    @asynccontextmanager
    async def leading(self) -> AsyncGenerator["FakeLeader"]:
        await self.transport.ensure(
            topology.streams(90),
            [
                *(topology.task_consumer(agent) for agent in self.agents),
                topology.discovery_consumer(self.run),
            ],
        )
        durable = subjects.discovery_consumer(self.run)
        async with (
            self.transport.subscribe(f"swarm.board.{self.run}.*.*", self._serve),
            self.transport.subscribe("swarm.heartbeat.*", self._hear_beat),
            self.transport.pull(subjects.DISCOVERIES_STREAM, durable, self._receive) as puller,
        ):
            self._puller = puller
            puller.add_credits(DISCOVERY_CREDITS)
            yield self

    async def dispatch(self, agent: str = "echo", *, token: str | None = None, **grant: object) -> SwarmTask:
        """Publishes one task; `grant` are further fields of its grant."""
        number = next(self._numbers)
        task = SwarmTask(
            run=self.run,
            task=f"task-{number}",
            attempt=1,
            token=token or secrets.token_hex(8),
            agent=agent,
            direction="dir-1",
        )
        self.tasks[task.token] = task
        self.extra[task.token] = grant
        await self.send(task)
        return task

    async def send(self, task: SwarmTask) -> None:
        identity = f"pub-{next(self._numbers)}"
        await self.transport.publish(
            subjects.tasks(task.agent), self._seal(task, identity), message_id=identity
        )

    def control(self, worker: str, **fields: object) -> None:
        self.transport.emit(subjects.control(worker), self._seal(Control.model_validate(fields)))

    def grant_all(self, request: ClaimRequest) -> ClaimReply:
        return ClaimReply(grants=tuple(self.grant(request, lease) for lease in request.leases))

    def grant(self, request: ClaimRequest, lease: Lease) -> Grant:
        task = self.tasks[lease.token]
        fields = {
            "goal": "the goal",
            "topic": "a topic",
            "visit": 1,
            **self.extra.get(lease.token, {}),
        }
        return Grant.model_validate(
            {
                **fields,
                "task": task.task,
                "token": task.token,
                "number": request.number,
                "run": task.run,
                "attempt": task.attempt,
                "agent": task.agent,
                "direction": task.direction,
            }
        )

    def record_all(self, request: RecordRequest) -> RecordReply:
        return RecordReply(verdict="recorded")

    def limit_nothing(self, request: PermitRequest) -> PermitReply:
        return PermitReply(unlimited=tuple({one.subject for one in request.portions}))

    def store_chunk(self, request: PutRequest) -> PutReply:
        partial = self._partial.setdefault(request.digest, bytearray())
        chunk = base64.b64decode(request.data)
        assert len(chunk) <= CHUNK_BYTES
        if request.offset == len(partial):
            partial += chunk
        complete = len(partial) == request.size_bytes
        if complete:
            assert hashlib.sha256(partial).hexdigest() == request.digest
            self.bodies[request.digest] = bytes(partial)
        return PutReply(complete=complete, received_bytes=len(partial))

    def settle(self, discovery: SwarmDiscovery) -> Control:
        self.settled.add(discovery.token)
        return Control(settled=((discovery.task, discovery.token),))

    def _serve(self, message: Message) -> None:
        request = decode(message.data).body
        reply: Record | None
        match request:
            case ClaimRequest():
                self.claims.append(request)
                reply = self.on_claim(request)
            case RecordRequest():
                self.records.append(request)
                reply = self.on_record(request)
            case PutRequest():
                self.puts.append(request)
                reply = self.on_put(request)
            case GetRequest():
                self.gets.append(request)
                reply = self._get(request)
            case StepsRequest():
                reply = self._steps(request)
            case QueryRequest():
                reply = self._query(request)
            case ProviderReport():
                self.reports.append(request)
                reply = self.on_report(request)
            case PermitRequest():
                self.permits.append(request)
                reply = self.on_permits(request)
            case _:
                raise AssertionError(type(request))
        if reply is not None:
            message.reply(self._seal(reply))

    def _get(self, request: GetRequest) -> GetReply:
        if request.digest is not None:
            body = self.bodies[request.digest]
            chunk = body[request.offset : request.offset + 100_000]
            return GetReply(data=base64.b64encode(chunk).decode(), size_bytes=len(body))
        found = [self.artifacts[identity] for identity in request.artifacts if identity in self.artifacts]
        missing = tuple(identity for identity in request.artifacts if identity not in self.artifacts)
        return GetReply(artifacts=tuple(found), missing=missing)

    def _steps(self, request: StepsRequest) -> StepsReply:
        """One step a page."""
        index = request.after - self.first_page
        more = index + 1 < len(self.steps_after)
        return StepsReply(
            steps=tuple(self.steps_after[index : index + 1]), next=request.after + 1 if more else None
        )

    def _query(self, request: QueryRequest) -> QueryReply:
        newest = sorted(self.artifacts.values(), key=lambda one: -one.number)
        found = [
            one
            for one in newest
            if (request.type is None or one.type == request.type)
            and (request.cursor is None or one.number < request.cursor)
        ]
        page = tuple(found[: request.limit])
        return QueryReply(artifacts=page, cursor=page[-1].number if len(found) > len(page) else None)

    def _receive(self, delivery: Delivery) -> None:
        assert self._puller is not None
        self._puller.add_credits(1)
        body = decode(delivery.data).body
        self.messages += 1
        delivery.ack()
        for discovery in body.discoveries if isinstance(body, SwarmDiscoveries) else (body,):
            assert isinstance(discovery, SwarmDiscovery)
            self.discoveries.append(discovery)
            receipt = self.on_discovery(discovery)
            if receipt is not None:
                self.transport.emit(subjects.control(discovery.worker), self._seal(receipt))

    def _hear_beat(self, message: Message) -> None:
        beat = decode(message.data).body
        assert isinstance(beat, SwarmHeartbeat)
        self.beats.append(beat)

    def _seal(self, message: Record, identity: str | None = None) -> bytes:
        return encode(message, source="leader", message_id=identity or f"m-{next(self._numbers)}", time_ms=0)
