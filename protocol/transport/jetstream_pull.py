"""Credit-based pulls, our own: nats-py's `fetch` stalls when several workers share a durable.

The server is asked in batches. `_credits` counts deliveries that the owner still wants, `_asked` how many
of them the server was asked for and has not answered; every delivery lowers both, and a pull that ends
early says in its status how many it leaves, so neither can leak or double. The batch is part of the
reply subject, so that a pull which never reached the consumer gives back exactly what it had asked for.
Pulls that may be lost (reconnect, deleted consumer, heartbeats missed) are given up all together by
changing the inbox: the server forgets a pull whose inbox has no listener.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from protocol.errors import TransportUnavailable
from protocol.transport.contract import Delivery
from protocol.transport.jetstream_client import HotClient, parse_headers, status_of
from protocol.transport.jetstream_messages import Send, StreamDelivery

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 0.5
MISSED_HEARTBEATS = 2.5


@dataclass(frozen=True, slots=True)
class PullTiming:
    expiry_seconds: float = 30.0
    """A pull is asked for again after this long; at most 30, so that the server forgets lost ones."""
    heartbeat_seconds: float = 5.0
    """The server says so often that an idle pull is alive; at most half of the expiry."""


@dataclass(slots=True, eq=False)
class _Inbox:
    sid: int
    subject: str
    counts: bool = True
    """False once its credits were taken back: a late delivery uses none."""


class JetStreamPuller:
    """See the contract. All of it runs in callbacks of the event loop; there is no task to leak."""

    def __init__(
        self,
        client: HotClient,
        source: tuple[str, str],
        handler: Callable[[Delivery], None],
        inbox_prefix: str,
        timing: PullTiming,
        send: Send,
        report: Callable[[Exception], None],
    ) -> None:
        self._client = client
        self._name = "/".join(source)
        self._subject = "$JS.API.CONSUMER.MSG.NEXT." + ".".join(source)
        self._handler = handler
        self._inbox_prefix = inbox_prefix
        self._timing = timing
        self._send = send
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._credits = 0
        self._asked = 0
        self._retry_seconds = 0.0
        self._armed: asyncio.Handle | None = None
        self._renewing = False
        self._closed = False
        self._heard = self._loop.time()
        self._inbox = self._open_inbox()
        self._old: set[_Inbox] = set()
        self._watch = self._loop.call_later(timing.heartbeat_seconds / 2, self._check_heartbeats)

    def add_credits(self, count: int) -> None:
        self._credits += count
        self._arm_soon()

    def drop_credits(self) -> int:
        dropped, self._credits = self._credits, 0
        old = self._change_inbox()
        old.counts = False
        self._client.ping().add_done_callback(lambda _: self._retire(old))
        return dropped

    def renew(self) -> None:
        """Gives up the pulls under way and asks again, once nothing of the old ones can still arrive."""
        if self._renewing or self._closed or not self._client.is_connected:
            return
        self._renewing = True
        old = self._change_inbox()
        self._client.ping().add_done_callback(lambda _: self._renewed(old))

    def on_reconnect(self) -> None:
        """Whatever was asked on the old connection is lost, an unfinished renewal included."""
        self._renewing = False
        for old in tuple(self._old):
            self._retire(old)
        self.renew()

    def close(self) -> None:
        self._closed = True
        self._watch.cancel()
        for inbox in (self._inbox, *self._old):
            self._client.forget(inbox.sid)

    def _open_inbox(self) -> _Inbox:
        inbox = _Inbox(0, f"{self._inbox_prefix}.{secrets.token_hex(8)}")
        inbox.sid = self._client.listen(
            f"{inbox.subject}.*",
            lambda subject, reply, data, headers: self._on_message(inbox, subject, reply, data, headers),
        )
        return inbox

    def _change_inbox(self) -> _Inbox:
        old = self._inbox
        self._client.mute(old.sid)
        self._old.add(old)
        self._asked = 0
        self._inbox = self._open_inbox()
        return old

    def _retire(self, old: _Inbox) -> None:
        self._client.forget(old.sid)
        self._old.discard(old)

    def _renewed(self, old: _Inbox) -> None:
        self._retire(old)
        self._renewing = False
        self._arm_soon()

    def _arm_soon(self) -> None:
        """Credits that are given in one turn of the loop make one pull."""
        if self._armed is not None or self._closed:
            return
        if self._retry_seconds:
            self._armed = self._loop.call_later(self._retry_seconds, self._arm)
        else:
            self._armed = self._loop.call_soon(self._arm)

    def _arm(self) -> None:
        """Asks for the credits that were not asked for, as soon as they are half of all."""
        self._armed = None
        batch = self._credits - self._asked
        idle = self._closed or self._renewing or not self._client.is_connected
        if idle or batch <= 0 or self._asked > batch:
            return
        options = {
            "batch": batch,
            "expires": int(self._timing.expiry_seconds * 1e9),
            "idle_heartbeat": int(self._timing.heartbeat_seconds * 1e9),
        }
        try:
            self._client.send(
                self._subject, json.dumps(options).encode(), reply=f"{self._inbox.subject}.{batch}"
            )
        except TransportUnavailable as error:
            self._retry(str(error))
            return
        if not self._asked:
            self._heard = self._loop.time()
        self._asked += batch

    def _on_message(
        self, inbox: _Inbox, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self._heard = self._loop.time()
        if not reply:
            if inbox is self._inbox:
                self._on_status(int(subject.rpartition(b".")[2]), headers)
            return
        self._retry_seconds = 0.0
        if inbox.counts and self._credits:
            self._credits -= 1
        if inbox is self._inbox:
            self._asked = max(0, self._asked - 1)
            if self._credits and self._asked * 2 <= self._credits:
                self._arm_soon()
        self._handler(StreamDelivery(subject.decode(), data, headers, reply.decode(), self._send))

    def _on_status(self, batch: int, headers: bytes | None) -> None:
        status = status_of(headers)
        if status == "100":
            self._retry_seconds = 0.0
            return
        cause = (headers or b"").partition(b"\r\n")[0][9:].decode("utf-8", "replace")
        left = parse_headers(headers).get("Nats-Pending-Messages")
        if left is not None:
            self._asked = max(0, self._asked - int(left))
        elif status in {"400", "404", "408", "503"} or "Exceeded" in cause:
            self._asked = max(0, self._asked - batch)
        else:
            self._retry(cause)
            self.renew()
            return
        if status == "408":
            self._arm_soon()
        else:
            self._retry(cause)

    def _retry(self, cause: str) -> None:
        """Asks again after a growing pause; the first failure in a row is reported."""
        if not self._retry_seconds:
            self._report(TransportUnavailable(f"pulling from {self._name}", cause))
        self._retry_seconds = min(LAST_RETRY_SECONDS, max(FIRST_RETRY_SECONDS, self._retry_seconds * 2))
        self._arm_soon()

    def _check_heartbeats(self) -> None:
        self._watch = self._loop.call_later(self._timing.heartbeat_seconds / 2, self._check_heartbeats)
        silence = self._loop.time() - self._heard
        if (
            self._asked
            and self._client.is_connected
            and silence > self._timing.heartbeat_seconds * MISSED_HEARTBEATS
        ):
            self._heard = self._loop.time()
            self._report(
                TransportUnavailable(f"pulling from {self._name}", f"nothing heard for {silence:.1f} s")
            )
            self.renew()
