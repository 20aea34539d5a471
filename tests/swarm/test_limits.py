"""Limits of agents and models over all runs, on two coordinators and several workers, in virtual time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import pytest

from agents.agent import Agent, Context, Discovery, agent
from blackboard.memory import MemoryStore
from blackboard.spec import AgentSpec, RunSpec
from coordinator.agreement import FORGOTTEN_SECONDS, Agreement
from coordinator.observations import OtherLimits
from coordinator.quotas import QuotaRecord
from coordinator.settings import Limits, Settings
from protocol.errors import StoreUnavailable
from protocol.limits import Limit, Portion, Quotas
from protocol.messages import FollowUp
from tests.support.swarm import WHOLE_LOGS, Swarm, swarm
from tests.support.virtual import run_virtually
from tests.worker.rig import virtually


@dataclass
class Meter:
    """Counts what is under way, by run: of tasks that run in this process, whoever killed their worker."""

    under_way: Counter[str] = field(default_factory=Counter)
    most: int = 0
    begun: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    """Of work that was done."""

    async def work(self, run: str, seconds: float) -> None:
        self.under_way[run] += 1
        self.most = max(self.most, self.under_way.total())
        self.begun.append((anyio.current_time(), run))
        try:
            await anyio.sleep(seconds)
            self.seconds += seconds
        finally:
            self.under_way[run] -= 1


def working(meter: Meter, seconds: float = 2.0) -> Mapping[str, Agent]:
    @agent("work")
    async def function(context: Context) -> Discovery:
        await meter.work(context.run, seconds)
        return Discovery()

    return {"work": function}


def calling(meter: Meter, seconds: float = 2.0) -> Mapping[str, Agent]:
    @agent("work")
    async def function(context: Context) -> Discovery:
        async with context.permit("house/model"):
            await meter.work(context.run, seconds)
        return Discovery()

    return {"work": function}


def spec(run: str, tasks: int) -> RunSpec:
    return RunSpec(
        run=run,
        goal="work",
        agents=(AgentSpec(name="work"),),
        roots=tuple(FollowUp(agent="work", topic=f"thing {n}", max_visits=1) for n in range(tasks)),
    )


def limited(**limits: object) -> Settings:
    return WHOLE_LOGS.model_copy(update={"limits": Limits.model_validate(limits)})


async def start(one: Swarm, agents: Mapping[str, Agent], *, workers: int = 3, slots: int = 4) -> None:
    for name in ("c1", "c2"):
        one.start_coordinator(name)
    for number in range(1, workers + 1):
        one.start_worker(f"w{number}", agents, slots=slots)
    await anyio.sleep(1)


async def all_done(one: Swarm, *runs: str) -> float:
    """When the last of them has ended."""
    for run in runs:
        assert (await one.ended(run)).status == "done"
        assert {task.tries for task in (await one.task_rows(run)).values()} == {1}
        await one.check(run)
    return anyio.current_time()


async def busy_with_three_runs(one: Swarm, meter: Meter) -> float:
    """How much was under way on average, from the first submission to the last end."""
    began = anyio.current_time()
    for run in ("a", "b", "c"):
        await one.submit(spec(run, 8))
    ended = await all_done(one, "a", "b", "c")
    return meter.seconds / (ended - began)


@virtually
async def test_tasks_of_a_limited_agent_keep_to_the_limit_over_all_runs_and_use_all_of_it() -> None:
    meter = Meter()
    async with swarm(settings=limited(agents={"work": Limit(concurrent=3)})) as one:
        await start(one, working(meter))
        busy = await busy_with_three_runs(one, meter)
        assert meter.most == 3
        assert len(one.coordinators["c1"].leaders) + len(one.coordinators["c2"].leaders) == 0
        assert busy > 3 * 0.75
        assert await unused(one)


@virtually
async def test_calls_of_a_limited_model_keep_to_the_limit_over_all_workers_and_use_all_of_it() -> None:
    meter = Meter()
    async with swarm(settings=limited(models={"house/*": Limit(concurrent=3)})) as one:
        await start(one, calling(meter))
        busy = await busy_with_three_runs(one, meter)
        assert meter.most == 3
        assert busy > 3 * 0.75
        assert await unused(one)


async def unused(one: Swarm) -> bool:
    """Whether everything was given back, within a short time."""
    with anyio.fail_after(5):
        while any(quota.in_use or quota.waiting for quota in (await QuotaRecord(one.store).read()).quotas):
            await anyio.sleep(0.1)
    return True


@virtually
async def test_runs_have_equal_shares_of_a_limit() -> None:
    for agents, limits in ((working, "agents"), (calling, "models")):
        meter = Meter()
        async with swarm(settings=limited(**{limits: {"*": Limit(concurrent=4)}})) as one:
            await start(one, agents(meter, 1.0), slots=6)
            await one.submit(spec("large", 60))
            await anyio.sleep(5)
            await one.submit(spec("small", 20))
            await anyio.sleep(3)
            before = Counter(run for _, run in meter.begun)
            await anyio.sleep(5)
            since = Counter(run for _, run in meter.begun) - before
            assert meter.most == 4
            assert abs(since["large"] - since["small"]) <= 2, limits
            await all_done(one, "large", "small")


@virtually
async def test_a_rate_holds_over_all_runs_and_is_used() -> None:
    for agents, limits in ((working, "agents"), (calling, "models")):
        meter = Meter()
        async with swarm(
            settings=limited(**{limits: {"work": Limit(per_minute=60), "*": Limit(per_minute=60)}})
        ) as one:
            await start(one, agents(meter, 0.1))
            await one.submit(spec("a", 12))
            await one.submit(spec("b", 12))
            await all_done(one, "a", "b")
            times = [at for at, _ in meter.begun]
            assert min(late - early for early, late in zip(times, times[2:], strict=False)) > 1.4
            assert times[-1] - times[0] < 23 * 1.3, limits


@virtually
async def test_tokens_of_a_model_keep_to_their_rate_over_all_runs_and_it_is_used() -> None:
    taken: list[tuple[float, int]] = []

    @agent("work")
    async def work(context: Context) -> Discovery:
        async with context.permit("house/model") as permit:
            await anyio.sleep(2)
            tokens = 200 + 150 * (len(taken) % 5)
            taken.append((anyio.current_time(), tokens))
            permit.took(tokens)
        return Discovery()

    async with swarm(settings=limited(models={"house/*": Limit(tokens_per_minute=30_000)})) as one:
        await start(one, {"work": work})
        began = anyio.current_time()
        for run in ("a", "b"):
            await one.submit(spec(run, 15))
        for run in ("a", "b"):
            assert (await one.ended(run)).status == "done"
        in_6_s = [sum(n for at, n in taken if first <= at < first + 6) for first, _ in taken]
        assert max(in_6_s) <= 3_000 + 2 * 800, "a call more at either end"
        assert sum(n for _, n in taken) / (taken[-1][0] - began) > 500 * 0.7
        assert await unused(one)


@virtually
async def test_the_share_of_a_worker_that_dies_comes_back_and_that_of_a_leader_is_kept() -> None:
    for agents, limits in ((working, "agents"), (calling, "models")):
        meter = Meter()
        async with swarm(settings=limited(**{limits: {"*": Limit(concurrent=4)}})) as one:
            await start(one, agents(meter, 3.0))
            await one.submit(spec("a", 16))
            await one.submit(spec("b", 16))
            await anyio.sleep(4)
            led = [name for name, each in one.coordinators.items() if each.leaders]
            one.kill(led[0])
            await anyio.sleep(5)
            one.kill("w1")
            one.start_worker("w4", agents(meter, 3.0), slots=4)
            for run in ("a", "b"):
                assert (await one.ended(run)).status == "done"
            assert meter.most == 4, limits
            assert await unused(one)


class NoRuns:
    """A store that does not say which runs there are."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def runs(self, *, active: bool):
        raise StoreUnavailable("runs", "no answer")


@virtually
async def test_a_coordinator_that_knows_of_no_runs_yet_leaves_them_what_they_hold() -> None:
    meter = Meter()
    settings = limited(agents={"*": Limit(concurrent=2)}, models={"house/*": Limit(concurrent=1)})
    async with swarm(settings=settings) as one:
        await start(one, working(meter, 60.0))
        await one.submit(spec("a", 2))
        await anyio.sleep(30)
        new = one.start_coordinator("c3", store=NoRuns(one.store))
        said = Portion(subject="house/model", run="b", holder="w9", since_ms=1, wants=1)
        await new._limiter._say([("model", "house/*", said)])
        quotas = (await QuotaRecord(one.store).read()).quotas
        assert {quota.kind: quota.in_use for quota in quotas} == {"agent": 2, "model": 1}


@virtually
async def test_what_a_store_that_came_back_older_has_forgotten_is_said_again() -> None:
    meter = Meter()
    async with swarm(settings=limited(agents={"*": Limit(concurrent=2)})) as one:
        await start(one, working(meter, 60.0))
        await one.submit(spec("a", 2))
        await anyio.sleep(10)
        record = QuotaRecord(one.store)
        known = await record.read()
        assert await record.write(Quotas(number=known.number + 1))
        await anyio.sleep(3)
        assert [quota.in_use for quota in (await record.read()).quotas] == [2]


@virtually
async def test_other_agents_have_the_slots_that_a_limit_leaves() -> None:
    meter, free = Meter(), Meter()
    async with swarm(settings=limited(agents={"work": Limit(concurrent=1)})) as one:

        @agent("play")
        async def play(context: Context) -> Discovery:
            await free.work(context.run, 2.0)
            return Discovery()

        await start(one, {**working(meter), "play": play}, workers=2)
        await one.submit(spec("a", 4))
        await one.submit(spec("b", 4))
        other = spec("other", 1).model_copy(
            update={
                "agents": (AgentSpec(name="play"),),
                "roots": tuple(FollowUp(agent="play", topic=f"{n}", max_visits=1) for n in range(21)),
            }
        )
        await one.submit(other)
        await all_done(one, "a", "b", "other")
        assert meter.most == 1
        assert free.most >= 7


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "coordinator.agreement"]


def others(hive: Swarm) -> int:
    """The latest words of both coordinators together."""
    return sum(one.coordinators for one in [one for one in hive.seen if isinstance(one, OtherLimits)][-2:])


def test_coordinators_that_were_started_with_other_limits_tell_once_until_they_have_the_same(caplog):
    async def main() -> None:
        async with swarm(settings=limited(agents={"work": {"concurrent": 2}})) as hive:
            hive.start_coordinator("c1")
            await hive.submit(spec("run-1", 1))
            await anyio.sleep(10)
            hive.settings = limited(agents={"work": {"concurrent": 3}})
            hive.start_coordinator("c2")
            await anyio.sleep(10)
            assert others(hive) == 1, "c2 leads nothing, and hears of c1"
            (warning,) = warnings(caplog)
            assert "coordinator c1 was started with other limits (limits.agents, limits.models," in warning
            assert "start all coordinators with the same" in warning
            hive.kill("c1")
            hive.settings = limited(agents={"work": {"concurrent": 3}}, reply_bytes=8192)
            hive.start_coordinator("c3")
            await anyio.sleep(FORGOTTEN_SECONDS + 20)
            assert others(hive) == 0, "c1 is forgotten, and the size of replies is everybody's own"
            assert len(warnings(caplog)) == 1

    run_virtually(main)


def test_a_coordinator_is_warned_of_again_when_its_limits_change_and_not_when_it_says_nothing(caplog):
    one, same, other = (
        Agreement(Limits.model_validate({"models": {"m": {"concurrent": n}}})) for n in (1, 1, 2)
    )
    third = Agreement(Limits(permit_seconds=20))
    for now, digest in enumerate((same.digest, other.digest, other.digest, "", third.digest, same.digest)):
        one.note("c2", digest, now)
        assert one.differing(now) == (1 <= now <= 4)
    assert len(warnings(caplog)) == 2
