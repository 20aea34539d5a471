"""Calls behind circuit breakers, as a worker makes them."""

from datetime import timedelta

import anyio

from agents.agent import Agent, AgentFailure, Context, Discovery, agent
from protocol.providers import Breaker, Breakers, ProviderReply, ProviderReport
from tests.worker.rig import WALL_MS, Rig, rig, virtually


def calling(*outcomes: Exception | None, seconds: float = 0.0) -> Agent:
    """An agent whose calls end so, one after the other; the last one for ever."""
    left = list(outcomes)

    @agent("calling")
    async def function(context: Context) -> Discovery:
        async with context.provider("here"):
            await anyio.sleep(seconds)
            error = left.pop(0) if len(left) > 1 else left[0]
            if error is not None:
                raise error
        return Discovery()

    return function


def record(status: str = "closed", *, until_ms: int = 0, failed: bool = False, number: int = 1) -> Breakers:
    failed_ms = (1,) if failed else ()
    one = Breaker.model_validate(
        {"provider": "here", "status": status, "until_ms": until_ms, "failed_ms": failed_ms, "reason": "why"}
    )
    return Breakers(number=number, breakers=(one,), now_ms=WALL_MS)


def answering(swarm: Rig, breakers: Breakers, probe: str = "") -> None:
    swarm.leader.on_report = lambda _: ProviderReply(breakers=breakers, probe=probe)


async def one_task(swarm: Rig) -> dict[str, object]:
    """Outcome of one task: what its failure says, and whether it has one."""
    count = len(swarm.leader.discoveries)
    await swarm.leader.dispatch("calling")
    await swarm.until(lambda: len(swarm.leader.discoveries) > count)
    found = swarm.leader.discoveries[-1]
    failure = found.failure
    return {
        "outcome": found.outcome,
        "kind": failure and failure.kind,
        "provider": failure and failure.provider,
    }


WELL = {"outcome": "done", "kind": None, "provider": None}
DOWN = {"outcome": "failed", "kind": "capacity", "provider": "here"}


@virtually
async def test_calls_that_go_well_ask_nobody_but_for_the_first() -> None:
    async with rig(calling(None)) as swarm:
        for _ in range(5):
            assert await one_task(swarm) == WELL
        assert [one.told for one in swarm.leader.reports] == ["unknown"]


@virtually
async def test_a_failure_is_reported_and_the_task_pauses_once_the_breaker_is_open() -> None:
    error = AgentFailure("capacity", "too many", retry_after=timedelta(seconds=7))
    async with rig(calling(error)) as swarm:
        assert (await one_task(swarm))["kind"] == "capacity"
        assert swarm.leader.reports[-1] == ProviderReport(
            provider="here", told="limited", retry_after_seconds=7, reason="too many"
        )
        answering(swarm, record("open", until_ms=WALL_MS + 9_000_000))
        assert await one_task(swarm) == DOWN
        told = len(swarm.leader.reports)
        assert await one_task(swarm) == DOWN
        assert len(swarm.leader.reports) == told, "while it is open nobody is asked"


@virtually
async def test_a_transient_failure_stays_one_while_the_breaker_is_closed() -> None:
    async with rig(calling(AgentFailure("transient", "reset"))) as swarm:
        answering(swarm, record(failed=True))
        assert await one_task(swarm) == {"outcome": "failed", "kind": "transient", "provider": None}
        assert swarm.leader.reports[-1].told == "failed"


@virtually
async def test_a_bug_or_a_bad_request_says_nothing_of_the_provider() -> None:
    async with rig(calling(RuntimeError("ours"), AgentFailure("user", "bad"))) as swarm:
        await one_task(swarm)
        await one_task(swarm)
        assert [one.told for one in swarm.leader.reports] == ["unknown"]


@virtually
async def test_a_call_that_goes_well_after_failures_is_reported() -> None:
    async with rig(calling(None)) as swarm:
        answering(swarm, record(failed=True))
        assert await one_task(swarm) == WELL
        assert [one.told for one in swarm.leader.reports] == ["unknown", "ok"]


@virtually
async def test_a_call_is_the_probe_only_with_leave() -> None:
    async with rig(calling(None)) as swarm:
        answering(swarm, record("open", until_ms=WALL_MS))
        assert await one_task(swarm) == DOWN
        assert swarm.leader.reports[-1].told == "due"
        answering(swarm, record("half_open", until_ms=WALL_MS, number=2), probe="token")
        assert await one_task(swarm) == WELL
        assert (swarm.leader.reports[-1].told, swarm.leader.reports[-1].probe) == ("ok", "token")


@virtually
async def test_a_probe_that_takes_too_long_has_failed() -> None:
    async with rig(calling(None, seconds=1_000), probe_seconds=20) as swarm:
        answering(swarm, record("half_open", until_ms=WALL_MS), probe="token")
        began = anyio.current_time()
        assert await one_task(swarm) == DOWN
        assert swarm.leader.reports[-1].told == "failed"
        assert 20 <= anyio.current_time() - began < 25


@virtually
async def test_a_probe_that_is_stopped_is_given_back() -> None:
    async with rig(calling(None, seconds=1_000)) as swarm:
        answering(swarm, record("half_open", until_ms=WALL_MS), probe="token")
        task = await swarm.leader.dispatch("calling")
        await swarm.until(lambda: len(swarm.leader.reports) == 2)
        assert swarm.worker._runner.lose(task.token)
        await swarm.until(lambda: len(swarm.leader.reports) == 3)
        assert (swarm.leader.reports[-1].told, swarm.leader.reports[-1].probe) == ("unknown", "token")
