"""Requests and their replies over one inbox subscription: a number, a future and a timer each."""

import asyncio
from dataclasses import dataclass

from protocol.errors import NoResponder, ReplyTimeout, TransportUnavailable
from protocol.transport.jetstream_client import HotClient, status_of


@dataclass(slots=True)
class _Waiting:
    subject: str
    future: asyncio.Future[bytes]


class Replies:
    """Whoever waits for an answer: requests, confirmations of publishes, calls of the JetStream API."""

    def __init__(self, client: HotClient, inbox: str) -> None:
        self._client = client
        self._inbox = inbox
        self._prefix_length = len(inbox) + 1
        self._number = 0
        self._waiting: dict[bytes, _Waiting] = {}

    def listen(self) -> None:
        """Subscribes the inbox, once the client is connected."""
        self._client.listen(f"{self._inbox}.*", self._on_reply)

    async def ask(self, subject: str, data: bytes, headers: bytes, timeout_seconds: float) -> bytes:
        """:raises NoResponder: at once when nobody serves the subject.
        :raises ReplyTimeout: when no reply came in time.
        """
        self._number += 1
        token = b"%d" % self._number
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._client.send(subject, data, f"{self._inbox}.{self._number}", headers)
        self._waiting[token] = _Waiting(subject, future)
        timer = loop.call_later(timeout_seconds, _expire, future, subject, timeout_seconds)
        try:
            return await future
        finally:
            timer.cancel()
            del self._waiting[token]

    def deny(self, subject: str, cause: str) -> None:
        """The server refused to carry messages to `subject` (lower case, as nats-py reports it)."""
        for waiting in self._waiting.values():
            if waiting.subject.lower() == subject:
                _fail(waiting.future, TransportUnavailable(f"sending to {waiting.subject}", cause))

    def fail_all(self, cause: str) -> None:
        for waiting in self._waiting.values():
            _fail(waiting.future, TransportUnavailable(f"sending to {waiting.subject}", cause))

    def _on_reply(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        waiting = self._waiting.get(subject[self._prefix_length :])
        if waiting is None or waiting.future.done():
            return
        if status_of(headers) == "503":
            waiting.future.set_exception(NoResponder(waiting.subject))
        else:
            waiting.future.set_result(data)


def _expire(future: asyncio.Future[bytes], subject: str, timeout_seconds: float) -> None:
    _fail(future, ReplyTimeout(subject, timeout_seconds))


def _fail(future: asyncio.Future[bytes], error: TransportUnavailable) -> None:
    if not future.done():
        future.set_exception(error)
