"""A long conversation is killed at its end, and a worker frozen before an effect: nothing is done twice."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio.lowlevel
import pytest

from blackboard import events as ev
from blackboard.spec import AgentSpec, RunSpec
from protocol.messages import FollowUp
from tests.crash.hive import FAST, Clients, Hive, check
from tests.crash.reasoning import play
from tests.support.model_server import ModelServer, Reply, fields, running
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
AGENTS = "tests.crash.agents_durable"
SLOW_SECONDS = 300
"""ReAct makes a signature of all that has happened at each of its rounds, which takes its time."""
KEY = {"TESTS_API_KEY": "key-of-the-tests"}


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path, {**FAST, **KEY})
    yield hive
    hive.stop_all()


def spec(run: str, agent: str, topic: str, url: str = "") -> RunSpec:
    return RunSpec(
        run=run,
        goal="reason",
        agents=(AgentSpec(name=agent, publishes=("conclusion",)),),
        roots=(FollowUp(agent=agent, topic=topic, max_visits=1),),
        settings={"model": "openai/scripted", "api_base": url, "api_key_env": "TESTS_API_KEY"},
    )


async def answer(clients: Clients, run: str) -> object:
    (posted,) = [one for one in await clients.events(run) if isinstance(one, ev.ArtifactPosted)]
    return posted.artifact.payload


def lines(hive: Hive, word: str) -> Counter[str]:
    text = hive.crash_log.read_text() if hive.crash_log.exists() else ""
    return Counter(line for line in text.splitlines() if line.startswith(f"{word} "))


async def test_a_hundred_call_agent_killed_at_call_99_makes_only_the_missing_calls(hive: Hive):
    """The model's replies follow from its prompts, so the answer of an undisturbed run is known."""
    prompts: list[str] = []

    def deadly(prompt: str) -> Reply:
        prompts.append(prompt)
        if len(prompts) == 99:
            hive.kill("w1")
        return play(prompt)

    with running(ModelServer(otherwise=deadly)) as server:
        hive.start_coordinator()
        hive.start_worker("w1", agents=AGENTS)
        async with hive.clients() as clients:
            run = await clients.submit(spec("run-1", "reason", "keyed rounds=98", server.url))
            await clients.until(lambda: _truth(len(prompts) == 99), seconds=SLOW_SECONDS)
            hive.start_worker("w2", agents=AGENTS)
            await clients.ended(run, seconds=SLOW_SECONDS)
            assert len(prompts) == 101, "99 calls; then the one that was under way again, and the last"
            assert prompts[98] == prompts[99]
            assert len(set(prompts)) == 100
            assert await answer(clients, run) == {"answer": "99 observations"}
            assert set(lines(hive, "keyed").values()) == {1}
            (task,) = (await check(hive, clients, run)).tasks.values()
            assert (task.attempt, task.steps) == (2, 100 + 2 * 98)
            assert (task.usage.model_calls, task.usage.tool_calls) == (100, 98)


async def test_of_eight_samples_and_eight_branches_killed_at_the_join_exactly_those_that_failed_run_again(
    hive: Hive,
):
    """Two of each fail, and the worker dies when all have come together, before anything is settled."""
    prompts: list[str] = []
    lock = threading.Lock()

    def failing(prompt: str) -> Reply:
        with lock:
            prompts.append(prompt)
            samples = sum("sample of" in one for one in prompts)
            member = next((number for number in range(8) if f"member {number} of" in prompt), None)
            first = len(prompts) <= 16
        if first and (member in {3, 6} or (member is None and samples in {3, 6})):
            return Reply(status=500)
        return Reply(fields(answer=f"m{member}" if member is not None else "s" * samples))

    with running(ModelServer(otherwise=failing)) as server:
        hive.start_coordinator()
        hive.start_worker("w1", agents=AGENTS)
        async with hive.clients() as clients:
            run = await clients.submit(spec("run-1", "confer", "it", server.url))
            await clients.until(lambda: _truth(not hive.running().count("w1")), seconds=SLOW_SECONDS)
            assert len(prompts) == 16
            hive.start_worker("w2", agents=AGENTS)
            await clients.ended(run, seconds=SLOW_SECONDS)
            again = prompts[16:]
            assert sorted("sample of" in prompt for prompt in again) == [False, False, True, True]
            assert sorted(n for n in range(8) for one in again if f"member {n} of" in one) == [3, 6]
            best = "s" * 10
            assert await answer(clients, run) == {"answer": f"{best} m0 m1 m2 m3 m4 m5 m6 m7"}
            (task,) = (await check(hive, clients, run)).tasks.values()
            assert (task.attempt, task.usage.model_calls) == (2, 16)


async def _truth(value: bool) -> bool:
    return value


async def test_a_worker_frozen_before_its_effect_is_refused_at_the_intent_when_it_wakes(hive: Hive):
    hive.start_coordinator()
    hive.start_worker("w1", agents=AGENTS)
    async with hive.clients() as clients:
        run = await clients.submit(spec("run-1", "hesitate", "hello"))
        await clients.until(lambda: _truth(lines(hive, "ready").total() == 1))
        hive.signal("w1", signal.SIGSTOP)
        (hive.folder / "go").touch()
        hive.start_worker("w2", agents=AGENTS)
        await clients.ended(run)
        assert lines(hive, "sent").total() == 1
        hive.signal("w1", signal.SIGCONT)
        await clients.until(lambda: _truth(lines(hive, "over").total() == 2))
        await anyio.lowlevel.checkpoint()
        assert lines(hive, "sent").total() == 1
        (task,) = (await check(hive, clients, run)).tasks.values()
        assert (task.attempt, task.worker) == (2, "w2")
