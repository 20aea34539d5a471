"""Calls within the swarm's limits of models, as a worker makes them."""

import anyio

from agents.agent import Agent, Context, Discovery, agent
from protocol.limits import PermitReply, PermitRequest
from tests.worker.rig import Rig, rig, virtually

LEASE_SECONDS = 15.0


def calling(seconds: float = 0.0, model: str = "house/model") -> Agent:
    @agent("calling")
    async def function(context: Context) -> Discovery:
        async with context.permit(model) as permit:
            await anyio.sleep(seconds)
            permit.took(300)
        return Discovery()

    return function


class Counter:
    """A coordinator that grants up to `free` permits; `slow` is how long it takes to say so."""

    def __init__(self, swarm: Rig, free: int) -> None:
        self.free = free
        self.granted = 0
        swarm.leader.on_permits = self.answer

    def answer(self, request: PermitRequest) -> PermitReply:
        (one,) = request.portions
        more = min(one.wants, self.free - (self.granted - one.ended))
        self.granted += max(0, more)
        return PermitReply(
            portions=(one.model_copy(update={"granted": self.granted}),), lease_seconds=LEASE_SECONDS
        )


def said(swarm: Rig) -> list[tuple[int, int]]:
    """What the worker said it held and wanted, request by request."""
    return [(one.in_use, one.wants) for request in swarm.leader.permits for one in request.portions]


@virtually
async def test_a_task_without_calls_asks_nobody() -> None:
    async with rig() as swarm:
        await swarm.leader.dispatch()
        await swarm.at_rest()
        assert swarm.leader.permits == []


@virtually
async def test_a_model_without_a_limit_is_asked_about_once_in_a_while() -> None:
    async with rig(calling()) as swarm:
        for _ in range(5):
            await swarm.leader.dispatch("calling")
            await swarm.at_rest()
        assert said(swarm) == [(0, 1)]
        await anyio.sleep(31)
        await swarm.leader.dispatch("calling")
        await swarm.at_rest()
        assert said(swarm) == [(0, 1), (0, 1)]


@virtually
async def test_a_call_waits_until_there_is_a_permit_and_gives_it_back() -> None:
    async with rig(calling()) as swarm:
        counter = Counter(swarm, 0)
        await swarm.leader.dispatch("calling")
        await anyio.sleep(3.5)
        assert said(swarm) == [(0, 1)] * 4
        counter.free = 1
        await swarm.discovery()
        await swarm.until(lambda: said(swarm)[-1] == (0, 0))
        assert swarm.leader.discoveries[0].outcome == "done"


@virtually
async def test_whoever_is_told_asks_at_once() -> None:
    async with rig(calling()) as swarm:
        counter = Counter(swarm, 0)
        await swarm.leader.dispatch("calling")
        await anyio.sleep(0.5)
        counter.free = 1
        swarm.leader.control("w1", order="permits")
        began = anyio.current_time()
        await swarm.discovery()
        assert anyio.current_time() - began < 0.1


@virtually
async def test_a_task_that_waits_for_long_gives_its_slot_to_another_and_uses_up_no_attempt() -> None:
    async with rig(calling()) as swarm:
        Counter(swarm, 0)
        await swarm.leader.dispatch("calling")
        began = anyio.current_time()
        found = await swarm.discovery()
        assert found.failure is not None
        assert (found.outcome, found.failure.kind) == ("failed", "capacity")
        assert 10 <= anyio.current_time() - began < 11
        assert 1 <= (found.failure.retry_after_seconds or 0) <= 3
        await swarm.until(lambda: said(swarm)[-1] == (0, 0))


@virtually
async def test_no_more_calls_are_made_at_once_than_were_granted_and_all_of_those() -> None:
    async with rig(calling(5), slots=8) as swarm:
        Counter(swarm, 3)
        began = anyio.current_time()
        for _ in range(6):
            await swarm.leader.dispatch("calling")
        await anyio.sleep(4)
        assert said(swarm)[-1] == (3, 3)
        await anyio.sleep(5)
        assert len(swarm.leader.discoveries) == 3
        await swarm.until(lambda: len(swarm.leader.discoveries) == 6)
        assert anyio.current_time() - began < 12


@virtually
async def test_what_is_held_is_said_again_long_before_it_is_lost() -> None:
    async with rig(calling(100)) as swarm:
        Counter(swarm, 1)
        await swarm.leader.dispatch("calling")
        await swarm.until(lambda: bool(swarm.leader.permits))
        before = len(swarm.leader.permits)
        await anyio.sleep(2 * LEASE_SECONDS)
        assert len(swarm.leader.permits) - before >= 8
        assert said(swarm)[-1] == (1, 0)


@virtually
async def test_a_call_that_is_stopped_gives_its_permit_back() -> None:
    async with rig(calling(1_000)) as swarm:
        Counter(swarm, 1)
        held, waiting = await swarm.leader.dispatch("calling"), await swarm.leader.dispatch("calling")
        await swarm.until(lambda: bool(said(swarm)) and said(swarm)[-1] == (1, 1))
        for task in (waiting, held):
            swarm.worker._runner.lose(task.token)
        await swarm.until(lambda: said(swarm)[-1] == (0, 0))


@virtually
async def test_with_a_permit_that_is_given_back_it_is_said_what_its_call_took() -> None:
    async with rig(calling(5), slots=8) as swarm:
        Counter(swarm, 2)
        stopped = await swarm.leader.dispatch("calling")
        for _ in range(2):
            await swarm.leader.dispatch("calling")
        await anyio.sleep(1)
        swarm.worker._runner.lose(stopped.token)
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
        await swarm.until(lambda: said(swarm)[-1] == (0, 0))
        (last,) = swarm.leader.permits[-1].portions
        assert (last.ended, last.calls, last.tokens) == (3, 2, 600)


@virtually
async def test_what_was_granted_before_the_worker_stood_still_is_not_used() -> None:
    async with rig(calling(5)) as swarm:
        counter = Counter(swarm, 1)
        grant = counter.answer
        lost: list[PermitRequest] = []

        def lose_the_first(request: PermitRequest) -> PermitReply | None:
            lost.append(request)
            return None if len(lost) == 1 else grant(request)

        swarm.leader.on_permits = lose_the_first
        await swarm.leader.dispatch("calling")
        await swarm.discovery()
        assert len(lost) > 1
        assert said(swarm)[0] == said(swarm)[1] == (0, 1)
