"""Discoveries that wait for their receipts: each is published again until the leader has spoken.

What is posted in one turn of the event loop leaves together, one message for each run.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import anyio

from agents.ledger import Ledger
from agents.observations import DiscoveryPublished, Observers, PublishPending, ReceiptReceived
from agents.results import Outgoing
from protocol import subjects
from protocol.errors import TransportUnavailable
from protocol.ids import derive
from protocol.messages import INLINE_BODY_BYTES, Refusal, SwarmDiscovery
from protocol.transport.contract import Transport

REPUBLISH_MOST_SECONDS = 30.0
TICK_SECONDS = 1.0
KEPT_LIMIT = 2_000
"""Discoveries kept at once: a beat lists each of them, and has to fit into a message."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    message: SwarmDiscovery
    size: int
    first: float
    due: float
    pause: float
    publications: int = 1


class Outbox:
    """Keeps and publishes discoveries. Above KEPT_LIMIT or `max_bytes` nothing new begins.

    `freed` is called when it is choked no more; `chance` in [0, 1) spreads the publications.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        observers: Observers,
        *,
        republish_seconds: float,
        max_bytes: int,
        freed: Callable[[], None],
        chance: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._ledger = ledger
        self._observers = observers
        self._republish_seconds = republish_seconds
        self._max_bytes = max_bytes
        self._freed = freed
        self._chance = chance
        self._kept: dict[str, _Kept] = {}
        self._bytes = 0
        self._filled = anyio.Event()
        self._posted: list[Outgoing] = []
        self._wake = anyio.Event()

    def __len__(self) -> int:
        return len(self._kept)

    def post(self, found: Outgoing, now: float) -> None:
        """Keeps a discovery, and lets it leave in the next turn of the loop."""
        message, size = found.message, len(found.body)
        if not self._kept:
            self._filled.set()
        pause = self._republish_seconds
        self._kept[message.token] = _Kept(message, size, now, now + pause, pause)
        self._bytes += size
        self._posted.append(found)
        self._wake.set()
        self._tell()

    async def send(self) -> None:
        """Publishes whatever is posted, for ever, without waiting: what gets lost is published again."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            posted, self._posted = self._posted, []
            for part in _parts(posted):
                self._send(part)

    def _send(self, part: Sequence[Outgoing]) -> None:
        """Sends discoveries of one run in one message."""
        first = part[0].message
        name, body = "swarm.discovery", part[0].body
        if len(part) > 1:
            name, body = "swarm.discoveries", b'{"discoveries":[%b]}' % b",".join([one.body for one in part])
        message_id = _publication_id(first, 1)
        data = self._ledger.identity.enclose(name, body, message_id)
        subject = subjects.discoveries(first.worker, first.run)
        self._transport.emit(subject, data, {"Nats-Msg-Id": message_id})
        for _ in part:
            self._observers.notify(DiscoveryPublished(again=False))

    def settle(self, token: str, refusal: Refusal | None = None) -> bool:
        """The leader's word: it counts, or is refused. False when nothing waits for it."""
        kept = self.discard(token)
        if kept is None:
            return False
        if refusal is not None:
            _log.warning("discovery of task %s came too late: %s", refusal.task, refusal.reason)
        verdict = "settled" if refusal is None else "stale"
        self._observers.notify(ReceiptReceived(verdict, anyio.current_time() - kept.first))
        return True

    def discard(self, token: str) -> _Kept | None:
        """Forgets a discovery that nobody waits for any more."""
        kept = self._kept.pop(token, None)
        if kept is not None:
            self._bytes -= kept.size
            self._ledger.forget(token)
            if not self._kept:
                self._filled = anyio.Event()
            self._tell()
        return kept

    async def republish(self) -> None:
        """Publishes again whatever waited too long, for ever."""
        while True:
            await self._filled.wait()
            await anyio.sleep(TICK_SECONDS)
            now = anyio.current_time()
            due = [token for token, kept in self._kept.items() if kept.due <= now]
            try:
                for token in due:
                    await self._again(token)
            except TransportUnavailable as error:
                _log.warning("%d discoveries wait to be published again: %s", len(self._kept), error)

    async def _again(self, token: str) -> None:
        kept = self._kept.get(token)
        if kept is None:
            return
        kept.publications += 1
        kept.pause = min(kept.pause * 2, REPUBLISH_MOST_SECONDS)
        kept.due = anyio.current_time() + kept.pause * (0.75 + self._chance() / 2)
        message = kept.message
        message_id = _publication_id(message, kept.publications)
        data = self._ledger.identity.seal(message, message_id)
        subject = subjects.discoveries(message.worker, message.run)
        await self._transport.publish(subject, data, message_id=message_id)
        self._observers.notify(DiscoveryPublished(again=True))

    def _tell(self) -> None:
        self._observers.notify(PublishPending(len(self._kept)))
        choked = self._bytes > self._max_bytes or len(self._kept) > KEPT_LIMIT
        if choked != self._ledger.choked:
            self._ledger.choked = choked
            if choked:
                _log.warning(
                    "%d discoveries wait for receipts: no new tasks until they come", len(self._kept)
                )
            else:
                self._freed()


def _parts(posted: Iterable[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """What may share a message: the same run, and no more bytes than one discovery may have alone."""
    parts: dict[str, list[Outgoing]] = {}
    sizes: dict[str, int] = {}
    for one in posted:
        run, size = one.message.run, len(one.body)
        if run in parts and sizes[run] + size > INLINE_BODY_BYTES:
            yield parts.pop(run)
        if run not in parts:
            parts[run], sizes[run] = [], 0
        parts[run].append(one)
        sizes[run] += size
    yield from parts.values()


def _publication_id(message: SwarmDiscovery, number: int) -> str:
    """Each publication has an id of its own: a repeated one would count as a duplicate, and be dropped."""
    return derive("pub", message.token, str(number))
