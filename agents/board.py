"""Requests to the board in this worker's name, and bodies that travel by claim check."""

import base64
import binascii
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import anyio

from agents.identity import Identity
from protocol import subjects
from protocol.codec import decode, decode_as
from protocol.errors import InvalidMessage, SwarmError, TransportUnavailable
from protocol.messages import (
    CHUNK_BYTES,
    BodyRef,
    ErrorReply,
    GetReply,
    GetRequest,
    PutReply,
    PutRequest,
    Record,
)
from protocol.strict_json import HANDED_OUT
from protocol.transport.contract import Transport

REQUEST_SECONDS = 5.0
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BODY_ATTEMPTS = 5

Reply = TypeVar("Reply", bound=Record)

_log = logging.getLogger(__name__)


class BoardRefused(SwarmError):
    """The coordinator answered a request with an error."""

    def __init__(self, verb: str, reply: ErrorReply) -> None:
        super().__init__(f"{verb}: {reply.message}")
        self.reply = reply

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.reply.error == "operator" or self.reply.retry_after_seconds is not None


class CorruptBody(SwarmError):
    """A body that does not have the digest under which it is known."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"body {digest}: its bytes have another digest")


class Board:
    """Board requests of one worker. `chance` in [0, 1) spreads retries."""

    def __init__(self, transport: Transport, identity: Identity, chance: Callable[[], float]) -> None:
        self._transport = transport
        self._identity = identity
        self._chance = chance

    async def once(
        self, run: str, verb: str, message: Record, reply: type[Reply], timeout_seconds: float
    ) -> Reply:
        """:raises BoardRefused: when the coordinator answers with an error.
        :raises TransportUnavailable: when nobody answers.
        :raises InvalidMessage: for a reply that cannot be understood.
        """
        data = await self._transport.request(
            subjects.board(run, self._identity.worker, verb),
            self._identity.seal(message),
            timeout_seconds=timeout_seconds,
        )
        body = decode(data, bounds=HANDED_OUT).body
        if isinstance(body, ErrorReply):
            raise BoardRefused(verb, body)
        return body if isinstance(body, reply) else decode_as(data, reply, bounds=HANDED_OUT)

    async def ask(self, run: str, verb: str, message: Record, reply: type[Reply]) -> Reply:
        """Asks until somebody answers; the caller's cancel scope is the only limit.

        :raises BoardRefused: for an error that asking again does not mend.
        """
        async for wait in self._waits():
            try:
                return await self.once(run, verb, message, reply, REQUEST_SECONDS)
            except TransportUnavailable as error:
                _log.debug("%s; asking again in %.1f s", error, wait)
                await anyio.sleep(wait)
            except BoardRefused as refused:
                if not refused.temporary:
                    raise
                await anyio.sleep(max(wait, refused.reply.retry_after_seconds or 0))
        raise AssertionError

    async def put(self, run: str, body: bytes) -> BodyRef:
        """Puts a body by digest, in chunks; one that is there already costs a single chunk."""
        ref = BodyRef(digest=hashlib.sha256(body).hexdigest(), size_bytes=len(body))
        offset = 0
        while True:
            chunk = base64.b64encode(body[offset : offset + CHUNK_BYTES]).decode()
            request = PutRequest(digest=ref.digest, size_bytes=len(body), offset=offset, data=chunk)
            reply = await self.ask(run, "put", request, PutReply)
            if reply.complete:
                return ref
            if reply.received_bytes <= offset:
                await anyio.sleep(BACKOFF_SECONDS[0])
            offset = reply.received_bytes if reply.received_bytes < len(body) else 0

    async def body(self, run: str, agent: str, ref: BodyRef) -> bytes:
        """Fetches a body in chunks and checks it.

        :raises CorruptBody: when what is stored has another digest.
        """
        for _ in range(BODY_ATTEMPTS):
            body = await self._fetch(run, agent, ref)
            if hashlib.sha256(body).hexdigest() == ref.digest:
                return body
        raise CorruptBody(ref.digest)

    async def _fetch(self, run: str, agent: str, ref: BodyRef) -> bytes:
        body = bytearray()
        while len(body) < ref.size_bytes:
            request = GetRequest(agent=agent, digest=ref.digest, offset=len(body))
            reply = await self.ask(run, "get", request, GetReply)
            try:
                chunk = base64.b64decode(reply.data, validate=True)
            except binascii.Error as error:
                raise InvalidMessage("data", "not base64", "send the chunk as base64") from error
            if not chunk:
                break
            body += chunk
        return bytes(body)

    async def _waits(self) -> AsyncIterator[float]:
        for seconds in BACKOFF_SECONDS:
            yield seconds * (0.5 + self._chance())
        while True:
            yield BACKOFF_SECONDS[-1] * (0.5 + self._chance())
