"""What reaches a leader: board requests of its run, and discoveries; as commands, or refused."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from blackboard import events as ev
from blackboard.evolve import bodies_of
from coordinator.decision import AnswerInquiry, Cancel, Claim, Commit, Judge, Pause, RecordSteps, Retry
from coordinator.group_commit import GroupCommit
from coordinator.observations import Refused
from coordinator.office import Office
from coordinator.outbox import Outbox
from coordinator.pace import Pace
from coordinator.reading import Journals, Unpacking, asks_the_store, check_sizes, is_unsafe
from protocol.codec import decode, decode_as
from protocol.errors import InvalidMessage, NotFound, Overloaded, StoreUnavailable
from protocol.messages import (
    INLINE_BODY_BYTES,
    AnswerRequest,
    CancelRequest,
    ClaimRequest,
    PauseRequest,
    Record,
    RecordReply,
    RecordRequest,
    RetryReply,
    RetryRequest,
    SwarmDiscoveries,
    SwarmDiscovery,
)
from protocol.transport.contract import Delivery, Message

Request = TypeVar("Request", bound=Record)
RETRY_SECONDS = 1.0
NO_DISK = (
    "the store cannot say that an intent is on disk, and an unsafe effect must not happen before: use Redis "
    "7.2 or newer with `appendonly yes`, or declare the effect idempotent, keyed or reconcilable"
)


class Shared:
    """A delivery of several discoveries: acknowledged with the last of them. Sent back, all come again."""

    def __init__(self, delivery: Delivery, discoveries: int) -> None:
        self._delivery = delivery
        self._left = discoveries

    def ack(self) -> None:
        self._left -= 1
        if not self._left:
            self._delivery.ack()

    def nak(self, delay_seconds: float) -> None:
        self._delivery.nak(delay_seconds)


class Inbox:
    """Handlers return at once; what must be read first is read in a task."""

    def __init__(
        self, office: Office, group: GroupCommit, outbox: Outbox, pace: Pace, tasks: TaskGroup
    ) -> None:
        self._office = office
        self._group = group
        self._outbox = outbox
        self._pace = pace
        self._tasks = tasks
        self._run = group.run.state.spec.run
        self._recall = group.recall
        self._journals = Journals(office.store, group.run.state)
        self._unpacking = Unpacking(office.store, self._run)
        self._taken = 0

    @property
    def verbs(self) -> Mapping[str, Callable[[Message], None]]:
        """Handlers by the verb of their requests."""
        return {
            "claim": self._on_claim,
            "record": self._on_record,
            "cancel": self._on_cancel,
            "answer": self._on_answer,
            "pause": self._on_pause,
            "retry": self._on_retry,
        }

    def take_credits(self) -> int:
        """How many discoveries were taken in since the last call."""
        taken, self._taken = self._taken, 0
        return taken

    def _on_claim(self, message: Message) -> None:
        request = self._admitted(message, ClaimRequest, _check_claim)
        if request is None:
            return
        if self._office.fleet.superseded(request.worker, request.incarnation):
            problem = f"a later worker is called {request.worker}"
            self._refuse(message, InvalidMessage("incarnation", problem, "give each its own name"))
            return
        self._office.fleet.claimed(request.worker, request.incarnation, anyio.current_time())
        for event in self._group.do(Claim(request, message)).events:
            if isinstance(event, ev.TasksClaimed):
                self._outbox.drop(event.tasks)

    def _on_record(self, message: Message) -> None:
        request = self._admitted(message, RecordRequest, _check_record)
        if request is None:
            return
        if self._journals.known(request.task) and not asks_the_store(request.steps):
            self._group.do(RecordSteps(request, message))
        else:
            self._tasks.start_soon(self._record_after_asking, request, message)

    async def _record_after_asking(self, request: RecordRequest, message: Message) -> None:
        """What a leader must read, keep or know of the store before it can decide."""
        store = self._office.store
        on_disk = any(is_unsafe(step) for step in request.steps)
        try:
            await self._journals.read(request.task)
            await store.keep(self._run, [body for step in request.steps for body in bodies_of(step)])
            can_sync = not on_disk or await store.can_sync()
        except (StoreUnavailable, NotFound) as error:
            self._office.post.refuse(message, error)
            return
        if can_sync:
            self._group.do(RecordSteps(request, message, on_disk=on_disk))
        else:
            self._office.observers.notify(Refused("steps", "not_durable"))
            self._office.post.reply(message, RecordReply(verdict="refused", reason=NO_DISK))

    def _on_cancel(self, message: Message) -> None:
        request = self._admitted(message, CancelRequest)
        if request is None:
            return
        if any(map(self._recall.lacks, request.tasks)):
            self._tasks.start_soon(self._cancel_after_reading, request, message)
        else:
            self._group.do(Cancel(request, message))

    async def _cancel_after_reading(self, request: CancelRequest, message: Message) -> None:
        """Tasks that have ended are not missing."""
        with self._recall.holding():
            try:
                ended = await self._recall.tasks(request.tasks)
            except StoreUnavailable as error:
                self._office.post.refuse(message, error)
                return
            with self._recall.remembering(ended):
                self._group.do(Cancel(request, message))

    def _on_pause(self, message: Message) -> None:
        request = self._admitted(message, PauseRequest)
        if request is not None:
            self._group.do(Pause(request, message))

    def _on_retry(self, message: Message) -> None:
        request = self._admitted(message, RetryRequest)
        if request is not None:
            self._tasks.start_soon(self._retry_after_reading, request, message)

    async def _retry_after_reading(self, request: RetryRequest, message: Message) -> None:
        with self._recall.holding():
            try:
                request, tasks, inquiries = await self._recall.retriable(request)
            except StoreUnavailable as error:
                self._office.post.refuse(message, error)
                return
            if not request.tasks:
                self._office.post.reply(message, RetryReply(retried=0))
                return
            with self._recall.remembering(tasks, inquiries):
                self._group.do(Retry(request, message))

    def _on_answer(self, message: Message) -> None:
        request = self._admitted(message, AnswerRequest)
        if request is None:
            return
        if request.inquiry in self._group.run.state.inquiries:
            self._group.do(AnswerInquiry(request, message))
        else:
            self._tasks.start_soon(self._answer_after_reading, request, message)

    async def _answer_after_reading(self, request: AnswerRequest, message: Message) -> None:
        """An answer to what ended with its task: the same again is fine, another is refused."""
        try:
            ended = await self._recall.inquiries([request.inquiry])
        except StoreUnavailable as error:
            self._office.post.refuse(message, error)
            return
        with self._recall.remembering(inquiries=ended):
            self._group.do(AnswerInquiry(request, message))

    def on_discovery(self, delivery: Delivery) -> None:
        """Takes in one discovery, or several that were ready together."""
        self._taken += 1
        try:
            discoveries = _discoveries(delivery, self._run)
        except InvalidMessage:
            self._office.observers.notify(Refused("message", "invalid"))
            delivery.term()
            return
        source = delivery if len(discoveries) == 1 else Shared(delivery, len(discoveries))
        for discovery in discoveries:
            if self._recall.lacks(discovery.task):
                self._tasks.start_soon(self._commit_after_reading, discovery, source)
            elif self._unpacking.needed(discovery):
                self._tasks.start_soon(self._commit_after_unpacking, discovery, source)
            else:
                self._commit(discovery, source)

    async def _commit_after_unpacking(self, discovery: SwarmDiscovery, source: Delivery | Shared) -> None:
        try:
            whole = await self._unpacking.unpack(discovery)
        except StoreUnavailable:
            source.nak(RETRY_SECONDS)
            return
        self._commit(whole, source)

    async def _commit_after_reading(self, discovery: SwarmDiscovery, source: Delivery | Shared) -> None:
        """A result again, or too late: its task has ended and is forgotten."""
        try:
            ended = await self._recall.tasks([discovery.task])
        except StoreUnavailable:
            source.nak(RETRY_SECONDS)
            return
        with self._recall.remembering(ended):
            self._group.do(Commit(discovery, source))

    def _commit(self, discovery: SwarmDiscovery, source: Delivery | Shared) -> None:
        for event in self._group.do(Commit(discovery, source)).events:
            if isinstance(event, ev.TaskSettled):
                self._outbox.drop((event.task,))
                self._pace.completed()
                self._judge(event.task)

    def _judge(self, task: str) -> None:
        """Where directions may retire by what they earn: whether this one should."""
        state = self._group.run.state
        row = state.tasks[task]
        agent = state.agents.get(row.agent)
        if agent is not None and agent.least_reward is not None:
            self._group.do(Judge(row.direction))

    def _admitted(
        self,
        message: Message,
        model: type[Request],
        check: Callable[[Message, Request], None] = lambda _message, _request: None,
    ) -> Request | None:
        """The request, or None where it was refused: invalid, or too much waits for the next append."""
        limit = self._office.settings.admission.max_queued_commands
        try:
            request = decode_as(message.data, model)
            check(message, request)
            if self._group.waiting >= limit:
                raise Overloaded(f"run {self._run}: commands that wait for the store", limit, RETRY_SECONDS)
        except (InvalidMessage, Overloaded) as error:
            self._refuse(message, error)
            return None
        return request

    def _refuse(self, message: Message, error: InvalidMessage | Overloaded) -> None:
        reason = "overloaded" if isinstance(error, Overloaded) else "invalid"
        self._office.observers.notify(Refused("request", reason))
        self._office.post.refuse(message, error)


def _discoveries(delivery: Delivery, run: str) -> Sequence[SwarmDiscovery]:
    """:raises InvalidMessage: for another message, run or worker than the subject's."""
    body = decode(delivery.data).body
    if isinstance(body, SwarmDiscovery):
        found: Sequence[SwarmDiscovery] = (body,)
    elif isinstance(body, SwarmDiscoveries):
        found = body.discoveries
    else:
        raise InvalidMessage("type", "no discovery", "send 'swarm.discovery'")
    worker = delivery.subject.split(".")[2]
    for one in found:
        if one.run != run or one.worker != worker:
            raise InvalidMessage("worker", "run or worker differ from the subject's", "publish as yourself")
    return found


def _check_claim(message: Message, request: ClaimRequest) -> None:
    _check_sender(message, request.worker)


def _check_record(message: Message, request: RecordRequest) -> None:
    _check_sender(message, request.worker)
    if len(message.data) > INLINE_BODY_BYTES:
        check_sizes(request.steps)


def _check_sender(message: Message, worker: str) -> None:
    """:raises InvalidMessage: for a request in another worker's name."""
    if message.subject.split(".")[3] != worker:
        raise InvalidMessage("worker", "differs from the subject's", "ask as yourself")
