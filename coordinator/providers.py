"""A coordinator's part in the circuit breakers: it takes reports, grants probes, and tells everybody.

Nothing of this is on the way of a task, nor of a model call that goes well while its provider's breaker is
quiet: only what fails is reported.
"""

from collections.abc import Collection

import anyio

from coordinator.breaker import probed, told
from coordinator.breakers import BreakerRecord
from coordinator.observations import ProviderSeen, Refused
from coordinator.office import Office
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, StoreUnavailable
from protocol.messages import Record
from protocol.providers import Breaker, Breakers, ProviderReply, ProviderReport
from protocol.transport.contract import Message

TELL_SECONDS = 1.0
"""Between two looks at the record; what is not quiet is told as often."""


class Providers:
    """The breakers as this coordinator knows them, and the requests to change them."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._record = BreakerRecord(office.store)
        self._turn = anyio.Lock()
        self._seen: set[str] = set()

    async def watch(self) -> None:
        """Keeps up with the record, and tells of what is not quiet: a message may have been missed."""
        while True:
            try:
                news = self._learn(await self._record.read())
            except StoreUnavailable:
                news = False  # the elections report it, and ask as often
            if news or self._office.gates.unquiet:
                self._tell()
            await anyio.sleep(TELL_SECONDS)

    def hear(self, message: Message) -> None:
        """Another coordinator has changed something."""
        try:
            told = decode_as(message.data, Breakers)
        except InvalidMessage:
            self._office.observers.notify(Refused("message", "invalid"))
        else:
            if told.number > self._office.gates.record.number:
                self._learn(told.model_copy(update={"now_ms": 0}))

    async def answer(self, _run: str, message: Message) -> Record:
        """A worker's report or request.

        :raises StoreUnavailable: when the record cannot be read or written.
        """
        report = decode_as(message.data, ProviderReport)
        token = self._office.clock.token() if report.told == "due" else ""

        def decided(breaker: Breaker) -> Breaker:
            now_ms, rules = self._office.clock.now_ms(), self._office.settings.breaker
            if token:
                return probed(breaker, token, rules, now_ms)
            return told(breaker, report, rules, now_ms)

        async with self._turn:
            known = self._office.gates.record
            record = await self._record.change(report.provider, decided, known if known.number else None)
        if self._learn(record):
            self._tell()
        granted = token if token and record.of(report.provider).probe == token else ""
        return ProviderReply(breakers=self._dated(record), probe=granted)

    def _learn(self, record: Breakers) -> bool:
        """Whether it is news."""
        gates = self._office.gates
        if record == gates.record:
            return False
        gates.learn(record)
        self._observe(record.breakers)
        return True

    def _observe(self, breakers: Collection[Breaker]) -> None:
        names = {breaker.provider for breaker in breakers}
        for gone in self._seen - names:
            self._office.observers.notify(ProviderSeen(gone, closed=True))
        self._seen = names
        for breaker in breakers:
            self._office.observers.notify(ProviderSeen(breaker.provider, breaker.status == "closed"))

    def _tell(self) -> None:
        office = self._office
        office.transport.emit(subjects.BREAKERS, office.post.sealed(self._dated(office.gates.record))[1])

    def _dated(self, record: Breakers) -> Breakers:
        return record.model_copy(update={"now_ms": self._office.clock.now_ms()})
