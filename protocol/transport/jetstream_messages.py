"""What handlers get from JetStream: thin views of a message; headers are parsed when somebody looks."""

import json
from collections.abc import Callable, Mapping

from protocol.transport.jetstream_client import parse_headers

Send = Callable[[str, bytes], None]
"""Sends without waiting and without any promise."""


class CoreMessage:
    """A core message, or a stored one that was read back."""

    __slots__ = ("_block", "_reply", "_send", "data", "subject")

    def __init__(self, subject: str, data: bytes, block: bytes | None, reply: str, send: Send) -> None:
        self.subject = subject
        self.data = data
        self._block = block
        self._reply = reply
        self._send = send

    @property
    def headers(self) -> Mapping[str, str]:
        return parse_headers(self._block)

    def reply(self, data: bytes) -> None:
        if self._reply:
            self._send(self._reply, data)


class StreamDelivery:
    """A delivery from a durable; `reply` is where it is settled, an opaque subject."""

    __slots__ = ("_block", "_reply", "_send", "data", "subject")

    def __init__(self, subject: str, data: bytes, block: bytes | None, reply: str, send: Send) -> None:
        self.subject = subject
        self.data = data
        self._block = block
        self._reply = reply
        self._send = send

    @property
    def headers(self) -> Mapping[str, str]:
        return parse_headers(self._block)

    def ack(self) -> None:
        self._send(self._reply, b"")

    def nak(self, delay_seconds: float = 0) -> None:
        options = json.dumps({"delay": int(delay_seconds * 1e9)}) if delay_seconds > 0 else ""
        self._send(self._reply, f"-NAK {options}".strip().encode())

    def term(self) -> None:
        self._send(self._reply, b"+TERM")
