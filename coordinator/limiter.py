"""A coordinator's part in the limits of agents and models: it takes requests, asks for its leaders, and tells
who has got something.

All limits that are in use are one small record of the store, as the circuit breakers are: each version has
one writer, who decides on the newest. So no permit is granted twice, whoever dies, and no coordinator leads.
What comes while one version is written goes into the next.
"""

from collections.abc import Mapping, Sequence

import anyio

from blackboard.state import RunState
from coordinator.decisions.dispatch import wanted
from coordinator.elections import Elections
from coordinator.observations import LimitSeen
from coordinator.office import Office
from coordinator.permits import Allowance, due_ms, settled, told
from coordinator.quotas import QuotaRecord
from protocol.codec import decode_as
from protocol.errors import StoreUnavailable
from protocol.limits import Kind, LimitTable, PermitReply, PermitRequest, Portion, Quota, Quotas
from protocol.messages import Control, Record
from protocol.transport.contract import Message

LOOK_SECONDS = 0.25
"""Between two looks at the record while a run wants more; another coordinator may have granted it."""
IDLE_SECONDS = 1.0
ENDED_MS = 10_000
"""When a run's portion goes that is on no list of active runs: a new run may not be there yet."""

Said = tuple[Kind, str, Portion]
"""A portion, and the limit that it is of."""


class Limiter:
    """The limits as this coordinator knows them, and the requests to change who has what of them."""

    def __init__(self, office: Office, elections: Elections) -> None:
        self._office = office
        self._elections = elections
        self._leaders = elections.leaders
        self._models = LimitTable(office.settings.limits.models)
        self._record = QuotaRecord(office.store)
        self._known = Quotas()
        self._waiting: list[Said] = []
        self._turn = anyio.Lock()

    async def answer(self, _run: str, message: Message) -> Record:
        """What a worker holds and wants.

        :raises StoreUnavailable: when the record cannot be read or written.
        """
        request = decode_as(message.data, PermitRequest)
        worker = message.subject.split(".")[3]
        limits = {one.subject: self._models.find(one.subject) for one in request.portions}
        said: list[Said] = []
        for one in request.portions:
            name = limits[one.subject]
            if name is not None:
                said.append(("model", name, one.model_copy(update={"holder": worker})))
        await self._say(said)
        now_ms = self._office.clock.now_ms()
        quotas = [self._known.of(kind, name) for kind, name, _ in said]
        portions = [quota.portion(one.key) for quota, (*_, one) in zip(quotas, said, strict=True)]
        return PermitReply(
            portions=tuple(one for one in portions if one is not None),
            unlimited=tuple(subject for subject, name in limits.items() if name is None),
            due_ms=min((due for quota in quotas if (due := due_ms(quota, now_ms))), default=0),
            lease_seconds=self._office.settings.limits.permit_seconds,
        )

    async def watch(self) -> None:
        """Asks for the runs that are led from here, and shows what is in use."""
        allowances = self._office.allowances
        if not allowances and not self._models:
            return
        shown = -IDLE_SECONDS
        while True:
            allowances.bell = anyio.Event()
            try:
                wanting = await self._ask_for_leaders()
                now = anyio.current_time()
                if now - shown >= IDLE_SECONDS:
                    self._known, shown = await self._record.read(), now
                    self._show()
            except StoreUnavailable:
                wanting = False  # the elections report it
            with anyio.move_on_after(LOOK_SECONDS if wanting else IDLE_SECONDS):
                await allowances.bell.wait()

    async def _ask_for_leaders(self) -> bool:
        """Says what the runs hold and want; whether any wants more than it got."""
        allowances = self._office.allowances
        said: list[Said] = []
        for run, agents in allowances.by_run.items():
            leader = self._leaders.get(run)
            if leader is not None and leader.leading:
                said += self._said(run, leader.run.state, agents)
        for run in [run for run in allowances.by_run if not self._elections.is_active(run)]:
            said += _ended(run, allowances.by_run.pop(run))
        news = [one for one in said if self._is_news(*one)]
        if not news:
            return False
        await self._say(news)
        allowances.said = {one.key: one for *_, one in said}
        return self._learn(said)

    def _is_news(self, kind: Kind, name: str, portion: Portion) -> bool:
        """Whether it must be said: it has changed, or wants something, or the record has forgotten it."""
        known = self._known.of(kind, name).portion(portion.key)
        forgotten = (known.in_use if known is not None else 0) < portion.in_use
        return bool(portion.wants) or forgotten or portion != self._office.allowances.said.get(portion.key)

    def _said(self, run: str, state: RunState, agents: Mapping[str, Allowance]) -> list[Said]:
        demand = wanted(state, self._office.clock.now_ms(), self._office.gates.shut)
        return [
            ("agent", one.limit, one.told(agent, run, state.busy[agent], demand.get(agent, 0)))
            for agent, one in agents.items()
        ]

    def _learn(self, said: Sequence[Said]) -> bool:
        """Tells the leaders what they have got; whether any has not got all."""
        wanting = False
        for _, name, one in said:
            allowance = self._office.allowances.by_run.get(one.run, {}).get(one.subject)
            if allowance is None:
                continue
            quota = self._known.of("agent", name)
            leader = self._leaders.get(one.run)
            if allowance.learn(quota, one.subject, one.run) and leader is not None:
                leader.spread()
            portion = quota.portion(one.key)
            wanting = wanting or (portion is not None and portion.wants > 0)
        return wanting

    async def _say(self, said: Sequence[Said]) -> None:
        """Returns once a version of the record has been written, or needs not be, that knows of it.

        :raises StoreUnavailable:
        """
        self._waiting += said
        async with self._turn:
            batch, self._waiting = self._waiting, []
            if batch:
                await self._write(batch)

    async def _write(self, batch: Sequence[Said]) -> None:
        while True:
            before = await self._record.read()
            after = self._changed(before, batch)
            if after.quotas == before.quotas:
                self._known = before
                return
            if await self._record.write(after):
                self._known = after
                self._ring(before, after, {one.holder for *_, one in batch})
                return

    def _changed(self, before: Quotas, batch: Sequence[Said]) -> Quotas:
        now_ms = self._office.clock.now_ms()
        quotas: dict[tuple[Kind, str], Quota] = {(one.kind, one.name): one for one in before.quotas}
        for kind, name, portion in batch:
            quotas[kind, name] = told(quotas.get((kind, name), Quota(kind=kind, name=name)), portion, now_ms)
        for (kind, name), quota in quotas.items():
            limit = self._table(kind).limits.get(name)
            if limit is not None:
                quotas[kind, name] = settled(quota, limit, now_ms, lambda one: self._gone(one, now_ms))
        return Quotas(number=before.number + 1, quotas=tuple(quotas.values()))

    def _table(self, kind: Kind) -> LimitTable:
        return self._models if kind == "model" else self._office.allowances.table

    def _gone(self, portion: Portion, now_ms: int) -> bool:
        """Whether a worker is not heard of, or a run has ended without a word. A leader says nothing while
        nothing changes, so of its run only the list of active runs tells.
        """
        unheard_ms = now_ms - portion.heard_ms
        if portion.holder:
            return unheard_ms > self._office.settings.limits.permit_seconds * 1000
        known = self._elections.answered
        return unheard_ms > ENDED_MS and known and not self._elections.is_active(portion.run)

    def _ring(self, before: Quotas, after: Quotas, asked: set[str]) -> None:
        """Tells workers that have got something without having asked just now."""
        workers: set[str] = set()
        for quota in after.quotas:
            old = {one.key: one.granted for one in before.of(quota.kind, quota.name).portions}
            workers |= {one.holder for one in quota.portions if one.granted > old.get(one.key, one.granted)}
        for worker in sorted(workers - asked - {""}):
            self._office.post.control(worker, Control(order="permits"))

    def _show(self) -> None:
        kinds: tuple[Kind, ...] = ("agent", "model")
        for kind in kinds:
            for name in self._table(kind).limits:
                quota = self._known.of(kind, name)
                self._office.observers.notify(LimitSeen(kind, name, quota.in_use, quota.waiting))


def _ended(run: str, agents: Mapping[str, Allowance]) -> list[Said]:
    return [("agent", one.limit, one.told(agent, run, 0, 0)) for agent, one in agents.items()]
