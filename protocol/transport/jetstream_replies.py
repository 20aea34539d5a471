"""Requests and their replies over one inbox subscription: a number, a callback and a timer each."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from protocol.errors import NoResponder, ReplyTimeout, TransportUnavailable
from protocol.transport.jetstream_client import HotClient, status_of

Answer = bytes | TransportUnavailable


@dataclass(slots=True)
class _Waiting:
    subject: str
    answered: Callable[[Answer], None]
    timer: asyncio.TimerHandle


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

    def expect(
        self,
        subject: str,
        data: bytes,
        headers: bytes,
        timeout_seconds: float,
        answered: Callable[[Answer], None],
    ) -> bytes:
        """Sends a request; `answered` is called once, with the reply or the error, unless it is forgotten.

        Returns the token to forget it by. :raises TransportUnavailable: when it cannot be sent at all.
        """
        self._number += 1
        token = b"%d" % self._number
        self._client.send(subject, data, f"{self._inbox}.{self._number}", headers)
        timer = asyncio.get_running_loop().call_later(timeout_seconds, self._expire, token, timeout_seconds)
        self._waiting[token] = _Waiting(subject, answered, timer)
        return token

    def forget(self, token: bytes) -> None:
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            waiting.timer.cancel()

    async def ask(self, subject: str, data: bytes, headers: bytes, timeout_seconds: float) -> bytes:
        """:raises NoResponder: at once when nobody serves the subject.
        :raises ReplyTimeout: when no reply came in time.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        token = self.expect(subject, data, headers, timeout_seconds, partial(_resolve, future))
        try:
            return await future
        finally:
            self.forget(token)

    def deny(self, subject: str, cause: str) -> None:
        """The server refused to carry messages to `subject` (lower case, as nats-py reports it)."""
        for token, waiting in tuple(self._waiting.items()):
            if waiting.subject.lower() == subject:
                self._settle(token, TransportUnavailable(f"sending to {waiting.subject}", cause))

    def fail_all(self, cause: str) -> None:
        for token, waiting in tuple(self._waiting.items()):
            self._settle(token, TransportUnavailable(f"sending to {waiting.subject}", cause))

    def _on_reply(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        token = subject[self._prefix_length :]
        waiting = self._waiting.get(token)
        if waiting is not None:
            self._settle(token, NoResponder(waiting.subject) if status_of(headers) == "503" else data)

    def _expire(self, token: bytes, timeout_seconds: float) -> None:
        waiting = self._waiting.get(token)
        if waiting is not None:
            self._settle(token, ReplyTimeout(waiting.subject, timeout_seconds))

    def _settle(self, token: bytes, answer: Answer) -> None:
        waiting = self._waiting.pop(token)
        waiting.timer.cancel()
        waiting.answered(answer)


def _resolve(future: asyncio.Future[bytes], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, TransportUnavailable):
        future.set_exception(answer)
    else:
        future.set_result(answer)
