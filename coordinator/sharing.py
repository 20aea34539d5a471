"""The fleet's slots: what the leaders want of them, which they tell each other, and what each run gets."""

from collections.abc import Mapping

import anyio

from coordinator.agreement import Agreement
from coordinator.allotment import Slots, allot, offered
from coordinator.builds import Offer
from coordinator.decisions.dispatch import wanted
from coordinator.elections import Elections
from coordinator.leader import Leader
from coordinator.observations import OtherLimits, Refused, WorkersSeen
from coordinator.office import Office
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage
from protocol.messages import Demand
from protocol.transport.contract import Message

TOLD_SECONDS = 1.0
FORGOTTEN_SECONDS = 3 * TOLD_SECONDS
ANY_NUMBER = 1_000_000
"""What a new run is taken to want until its leader has said so."""
SPLIT_SECONDS = 0.25
"""How often slots are split. Not at each beat: it takes a look at every worker, and a thousand of them beat a
hundred times a second."""
PAUSE_SECONDS = 0.02
"""Between two splits, however many runs find a leader."""


class Sharing:
    """Every coordinator splits the slots of all workers, for all runs, and comes to the same."""

    def __init__(self, office: Office, elections: Elections) -> None:
        self._office = office
        self._elections = elections
        self._agreement = Agreement(office.settings.limits)
        self._demands: dict[str, tuple[Demand, float]] = {}

    def hear(self, message: Message) -> None:
        """What another coordinator's leader wants."""
        try:
            demand = decode_as(message.data, Demand)
        except InvalidMessage:
            self._office.observers.notify(Refused("message", "invalid"))
            return
        if demand.coordinator != self._office.post.name:
            now = anyio.current_time()
            self._demands[demand.run] = (demand, now)
            self._agreement.note(demand.coordinator, demand.limits, now)
            self._office.heads.note(demand.run, demand.head)

    async def split(self) -> None:
        """Splits the slots now and then, and whenever the bell rings."""
        shares = self._office.shares
        while True:
            with anyio.move_on_after(SPLIT_SECONDS):
                await shares.bell.wait()
            shares.bell = anyio.Event()
            self._split()
            await anyio.sleep(PAUSE_SECONDS)

    def _split(self) -> None:
        """Splits the slots of the living workers; leaders whose share changed look for work to dispatch."""
        office, leaders = self._office, self._elections.leaders
        now = anyio.current_time()
        alive = list(office.fleet.alive(now))
        office.shares.offers = tuple(map(Offer.of, alive))
        fleet = [Slots(frozenset(beat.agents), beat.slots) for beat in alive]
        agents = {agent for slots in fleet for agent in slots.agents}
        shown = {agent: offered(agent, fleet) for agent in agents}
        shares = allot(self._all_demands(agents, now), fleet)
        if shares != office.shares.runs or shown != office.shares.offered:
            office.shares.runs, office.shares.offered = shares, shown
            for leader in leaders.values():
                leader.spread()

    def _all_demands(self, agents: set[str], now: float) -> dict[str, Mapping[str, int]]:
        """What each active run wants of each agent: as new, as was heard, and as its leader here knows."""
        leaders, now_ms = self._elections.leaders, self._office.clock.now_ms()
        self._demands = {
            run: (demand, heard)
            for run, (demand, heard) in self._demands.items()
            if now - heard < FORGOTTEN_SECONDS
        }
        unheard_of = self._elections.unheard_of(now - FORGOTTEN_SECONDS)
        demands: dict[str, Mapping[str, int]] = {run: dict.fromkeys(agents, ANY_NUMBER) for run in unheard_of}
        demands |= {run: demand.wanted for run, (demand, _) in self._demands.items() if run not in leaders}
        demands |= {run: self._wanted(leader, now_ms) for run, leader in leaders.items() if leader.leading}
        return demands

    def _wanted(self, leader: Leader, now_ms: int) -> dict[str, int]:
        office, state = self._office, leader.run.state
        demand = wanted(state, now_ms, office.gates.shut, office.shares.offers)
        return office.allowances.capped(state, demand) if office.allowances else demand

    async def tell(self) -> None:
        """Tells the other coordinators what is wanted here, and the observers what the fleet looks like."""
        while True:
            await anyio.sleep(TOLD_SECONDS)
            self._tell_demand()
            self._report_fleet()

    def _tell_demand(self) -> None:
        office = self._office
        now_ms = office.clock.now_ms()
        for run, leader in self._elections.leaders.items():
            if leader.leading:
                demand = Demand(
                    coordinator=office.post.name,
                    run=run,
                    wanted=self._wanted(leader, now_ms),
                    head=leader.head,
                    limits=self._agreement.digest,
                    sent_ms=now_ms,
                )
                office.transport.emit(subjects.DEMAND, office.post.sealed(demand)[1])

    def _report_fleet(self) -> None:
        office = self._office
        limit = office.settings.liveness.silence_seconds
        now = anyio.current_time()
        office.fleet.forget(now)
        counts = {"alive": 0, "busy": 0, "draining": 0, "silent": 0}
        slots = free = 0
        for beat, age in office.fleet.beats(now).values():
            silent = age >= limit
            status = "silent" if silent else beat.status
            counts[status if status in counts else "alive"] += 1
            if not silent:
                slots += beat.slots
                free += max(0, beat.slots - sum(held.state != "finished" for held in beat.held))
        office.observers.notify(
            WorkersSeen(counts["alive"], counts["busy"], counts["draining"], counts["silent"], slots, free)
        )
        office.observers.notify(OtherLimits(self._agreement.differing(now)))
