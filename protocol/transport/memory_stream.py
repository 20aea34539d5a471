"""Streams and durables in memory: what JetStream keeps, without its clock and its network."""

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from protocol.transport.contract import ConsumerSpec, StreamSpec

MESSAGE_ID = "Nats-Msg-Id"


@lru_cache(maxsize=10_000)
def matches(pattern: str, subject: str) -> bool:
    """NATS wildcards: `*` is one token, `>` at the end one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(
        want in {"*", token} for want, token in zip(wanted, tokens, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Stored:
    sequence: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    time: float


@dataclass(slots=True)
class MemoryConsumer:
    """A durable: what is new to it, and what was delivered and is not settled, with its next due time."""

    spec: ConsumerSpec
    new: deque[int] = field(default_factory=deque[int])
    unsettled: dict[int, float] = field(default_factory=dict[int, float])
    due: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """Heap of due times; an entry that no longer agrees with `unsettled` is void."""

    def schedule(self, sequence: int, due: float) -> None:
        self.unsettled[sequence] = due
        heapq.heappush(self.due, (due, sequence))

    def next_due(self) -> float | None:
        while self.due and self.unsettled.get(self.due[0][1]) != self.due[0][0]:
            heapq.heappop(self.due)
        return self.due[0][0] if self.due else None

    def take(self, now: float) -> int | None:
        """The next message to deliver: what is due again goes before what is new."""
        due = self.next_due()
        if due is not None and due <= now:
            sequence = heapq.heappop(self.due)[1]
        elif self.new:
            sequence = self.new.popleft()
        else:
            return None
        self.schedule(sequence, now + self.spec.ack_wait_seconds)
        return sequence

    def forget(self, sequence: int) -> None:
        self.unsettled.pop(sequence, None)


@dataclass(slots=True)
class MemoryStream:
    spec: StreamSpec
    messages: dict[int, Stored] = field(default_factory=dict[int, Stored])
    consumers: dict[str, MemoryConsumer] = field(default_factory=dict[str, MemoryConsumer])
    last_sequence: int = 0
    _seen: dict[str, float] = field(default_factory=dict[str, float])
    _by_subject: dict[str, deque[int]] = field(default_factory=dict[str, deque[int]])
    _bytes: int = 0

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def store(self, subject: str, data: bytes, headers: Mapping[str, str], now: float) -> None:
        """Keeps a message, unless its id was seen within the duplicate window."""
        if self._is_duplicate(headers.get(MESSAGE_ID), now):
            return
        self.last_sequence += 1
        self.messages[self.last_sequence] = Stored(self.last_sequence, subject, data, headers, now)
        self._bytes += len(data)
        same = self._by_subject.setdefault(subject, deque())
        same.append(self.last_sequence)
        if 0 < self.spec.max_msgs_per_subject < len(same):
            self.remove(same[0])
        for consumer in self.consumers.values():
            if matches(consumer.spec.filter_subject, subject):
                consumer.new.append(self.last_sequence)
        self.enforce_limits(now)

    def remove(self, sequence: int) -> None:
        message = self.messages.pop(sequence)
        self._bytes -= len(message.data)
        self._by_subject[message.subject].remove(sequence)
        for consumer in self.consumers.values():
            consumer.forget(sequence)

    def settle(self, consumer: MemoryConsumer, sequence: int) -> None:
        consumer.forget(sequence)
        if self.spec.retention == "workqueue" and sequence in self.messages:
            self.remove(sequence)

    def add_consumer(self, spec: ConsumerSpec) -> None:
        new = deque(
            message.sequence
            for message in self.messages.values()
            if matches(spec.filter_subject, message.subject)
        )
        self.consumers[spec.durable] = MemoryConsumer(spec, new)

    def pending(self, durable: str) -> int:
        consumer = self.consumers[durable]
        return sum(sequence in self.messages for sequence in consumer.new) + len(consumer.unsettled)

    def take(self, durable: str, now: float) -> Stored | None:
        """The next message for the durable that has not been removed meanwhile."""
        consumer = self.consumers[durable]
        while (sequence := consumer.take(now)) is not None:
            message = self.messages.get(sequence)
            if message is not None:
                return message
            consumer.forget(sequence)
        return None

    def last_per_subject(self) -> list[Stored]:
        return [self.messages[same[-1]] for _, same in sorted(self._by_subject.items()) if same]

    def enforce_limits(self, now: float) -> None:
        """Removes what is too old or too much, oldest first."""
        while self.messages and self._has_excess(next(iter(self.messages.values())), now):
            self.remove(next(iter(self.messages)))

    def _has_excess(self, oldest: Stored, now: float) -> bool:
        too_old = 0 < self.spec.max_age_seconds <= now - oldest.time
        return too_old or 0 < self.spec.max_bytes < self._bytes

    def _is_duplicate(self, message_id: str | None, now: float) -> bool:
        if message_id is None:
            return False
        for known, seen in tuple(self._seen.items()):
            if now - seen < self.spec.duplicate_window_seconds:
                break
            del self._seen[known]
        if message_id in self._seen:
            return True
        self._seen[message_id] = now
        return False
