"""Two builds of an agent in one swarm: journals stay with the build that wrote them."""

from collections import Counter
from dataclasses import replace

import anyio

from agents.agent import Agent, Context, Discovery, agent
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator.builds import Offer, stranded
from coordinator.doctor.swarm import of_run
from coordinator.forking import Forking
from coordinator.history import Point
from coordinator.observations import Backlog
from coordinator.overrides import Overrides
from protocol.messages import FollowUp
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually

WAIT_SECONDS = 60
TASKS = 6


def orders(
    build: str, paid: Counter[str], *compatible: str, by: dict[str, str] | None = None
) -> dict[str, Agent]:
    """An agent that pays, waits, and ends."""

    @agent("order")
    async def order(context: Context) -> Discovery:
        async def pay() -> str:
            paid[context.task] += 1
            return "paid"

        await context.step("pay", context.topic, pay)
        await context.sleep(WAIT_SECONDS)
        if by is not None:
            by[context.task] = build
        return Discovery(reward=1.0)

    return {"order": replace(order, build=build, compatible=compatible)}


def spec(run: str = "run-1", tasks: int = TASKS) -> RunSpec:
    return RunSpec(
        run=run,
        goal="order",
        agents=(AgentSpec(name="order", trigger="artifacts"),),
        roots=tuple(FollowUp(agent="order", topic=f"thing {n}", max_visits=1) for n in range(tasks)),
        budget=Budget(tasks=tasks),
    )


def test_waiting_tasks_are_stranded_while_no_worker_goes_on_from_them_and_end_once_one_does():
    paid: Counter[str] = Counter()

    async def main() -> None:
        async with swarm() as hive:
            coordinator = hive.start_coordinator()
            hive.start_worker("old", orders("b1", paid), slots=TASKS)
            run = await hive.submit(spec())
            await anyio.sleep(10)
            assert paid.total() == TASKS
            hive.kill("old")
            hive.start_worker("new", orders("b2", paid), slots=TASKS)
            await anyio.sleep(1200)
            tasks = await hive.task_rows(run)
            assert {(task.status, task.tries) for task in tasks.values()} == {("queued", 0)}
            attempts = {task.attempt for task in tasks.values()}
            assert attempts <= {1, 2}, "once, while the worker that is gone was not given up yet"
            offers = coordinator._office.shares.offers
            assert len(list(stranded(tasks.values(), offers, {}))) == TASKS
            seen = [one.stranded for one in hive.seen if isinstance(one, Backlog)]
            assert seen[-1] == TASKS
            other = await hive.submit(spec("run-2", 2))
            assert (await hive.ended(other)).status == "done"
            hive.kill("c1")
            hive.start_coordinator("c2")
            await anyio.sleep(120)
            assert {task.attempt for task in (await hive.task_rows(run)).values()} == attempts
            hive.start_worker("third", orders("b3", paid, "b1"), slots=TASKS)
            assert (await hive.ended(run)).status == "done"
            state = await hive.check(run)
            assert {task.build for task in state.tasks.values()} == {"b3"}
            assert set(paid.values()) == {1}

    run_virtually(main)


def test_the_doctor_names_tasks_that_no_living_worker_takes_and_what_to_do_for_each_agent():
    async def main() -> None:
        async with swarm() as hive:
            coordinator = hive.start_coordinator()
            hive.start_worker("old", orders("b1", Counter()), slots=TASKS)
            await hive.submit(spec())
            await anyio.sleep(WAIT_SECONDS / 2)
            state = coordinator.leaders["run-1"].run.state
            same = Offer(frozenset(["order"]), {"order": ("b1",)}, 1)
            other = Offer(frozenset(["order"]), {"order": ("b2",)}, 1)
            assert list(of_run(state, [other, same])) == []
            (found,) = of_run(state, [other])
            assert (found.status, found.detail.split(":")[0]) == ("warning", "6 of agent order in run run-1")
            assert "builds there: b2 (1)" in found.detail
            assert "start a worker with --build b1" in found.fix
            (found,) = of_run(state, [])
            assert "no living worker offers the agent" in found.detail

    run_virtually(main)


def test_an_agent_that_nobody_offers_is_named_though_its_tasks_have_no_journal():
    async def main() -> None:
        async with swarm() as hive:
            coordinator = hive.start_coordinator()
            hive.start_worker("other", {"else": orders("b1", Counter())["order"]})
            await hive.submit(spec(tasks=2).model_copy(update={"agents": (AgentSpec(name="order"),)}))
            await anyio.sleep(5)
            tasks = coordinator.leaders["run-1"].run.state
            found = list(of_run(tasks, [Offer(frozenset(["else"]), {}, 2)]))
            assert [one.fix for one in found] == ["start a worker whose --agents have order"]

    run_virtually(main)


def test_in_a_mixed_fleet_each_journal_finds_a_worker_of_its_build_however_few_there_are():
    paid: Counter[str] = Counter()
    by: dict[str, str] = {}

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("old", orders("b1", paid, by=by), slots=1)
            run = await hive.submit(spec())
            await anyio.sleep(30)
            assert paid.total() == TASKS
            for number in range(4):
                hive.start_worker(f"new-{number}", orders("b2", paid, by=by), slots=4)
            other = await hive.submit(spec("run-2", 20))
            assert (await hive.ended(other)).status == "done"
            assert (await hive.ended(run)).status == "done"
            state = await hive.check(run)
            assert {by[task] for task in state.tasks} == {"b1"}
            assert {task.tries for task in state.tasks.values()} == {1}
            assert set(paid.values()) == {1}

    run_virtually(main)


def test_a_fork_may_ask_for_a_build_and_then_has_workers_of_no_other():
    paid: Counter[str] = Counter()
    by: dict[str, str] = {}

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("old", orders("b1", paid, by=by), slots=8)
            run = await hive.submit(spec())
            assert (await hive.ended(run)).status == "done"
            assert set(by.values()) == {"b1"}
            by.clear()
            forking = Forking(hive.store, MemoryTransport(hive.bus), 10)
            first = min((await hive.task_rows(run)).values(), key=lambda task: task.began)
            overrides = Overrides(builds={"order": "b2"})
            parted = await forking.part(
                run, "fork", Point(first.id), overrides, "run-2", now_ms=hive.clock.now_ms()
            )
            assert parted.spec.agents[0].build == "b2"
            await anyio.sleep(600)
            assert not by, "no worker has that build"
            hive.start_worker("new", orders("b2", paid, by=by), slots=2)
            assert (await hive.ended("run-2")).status == "done"
            assert set(by.values()) == {"b2"}
            await hive.check("run-2")

    run_virtually(main)
