"""How agents run, and what becomes of what they return or raise."""

import contextvars
import os
import time
from datetime import UTC, datetime, timedelta

import anyio
import anyio.from_thread
import pytest
from pydantic import BaseModel, ConfigDict

from agents.agent import Agent, AgentFailure, Context, Discovery, Posting, agent
from agents.observations import Gauged, LeaseLost, TaskFinished
from protocol.artifacts import artifact
from protocol.messages import Failure, FollowUp, SwarmDiscovery, Usage
from tests.worker.rig import WALL_MS, rig, virtually


@artifact("worker_note")
class Note(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    number: float = 0.0


class Stranger(BaseModel):
    model_config = ConfigDict(frozen=True)


async def outcome_of(one: Agent, **grant: object) -> SwarmDiscovery:
    async with rig(one) as swarm:
        await swarm.leader.dispatch(one.name, **grant)
        return await swarm.discovery(600)


async def failure_of(one: Agent, **grant: object) -> Failure:
    discovery = await outcome_of(one, **grant)
    assert discovery.outcome == "failed"
    assert discovery.failure is not None
    return discovery.failure


@virtually
async def test_artifacts_follow_ups_and_usage_reach_the_leader() -> None:
    @agent("full", publishes=[Note])
    async def full(context: Context) -> Discovery:
        return Discovery(
            [Note(text="plain"), Posting(Note(text="tagged"), key="k", tags=("a",), text="find me")],
            reward=1,
            follow_ups=[FollowUp(agent="full", topic=context.topic + "!", prior=0.5)],
            exhausted=True,
            usage=Usage(model_calls=2),
        )

    found = await outcome_of(full)
    assert [draft.payload["text"] for draft in found.artifacts] == ["plain", "tagged"]
    assert found.artifacts[0].payload["at"] == "2026-01-02T00:00:00Z"
    assert (found.artifacts[1].key, found.artifacts[1].tags, found.artifacts[1].text) == (
        "k",
        ("a",),
        "find me",
    )
    assert found.follow_ups == (FollowUp(agent="full", topic="a topic!", prior=0.5),)
    assert (found.outcome, found.exhausted, found.usage.model_calls) == ("done", True, 2)


BAD = {
    "no discovery": (lambda: None, "return value", "NoneType is no Discovery"),
    "a reward above 1": (lambda: Discovery(reward=1.5), "reward", "1.5 is not in [0, 1]"),
    "a reward that is no number": (lambda: Discovery(reward=float("nan")), "reward", "nan"),
    "an undeclared type": (lambda: Discovery([Stranger()]), "artifacts[0]", "not registered"),
    "a plain dict": (lambda: Discovery([{"a": 1}]), "artifacts[0]", "dict is no pydantic model"),
    "an infinite number": (lambda: Discovery([Note(text="", number=float("inf"))]), "artifacts[0]", "JSON"),
    "a lone surrogate": (lambda: Discovery([Note(text="\ud800")]), "artifacts[0]", "surrogate"),
    "a tag too long": (
        lambda: Discovery([Posting(Note(text=""), tags=("x" * 101,))]),
        "artifacts[0]",
        "tags",
    ),
    "a follow-up of the wrong type": (lambda: Discovery(follow_ups=["more"]), "discovery", "follow_ups"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_accepted_is_a_bug_that_names_agent_and_field(case: str) -> None:
    make, field, problem = BAD[case]

    @virtually
    async def run() -> None:
        @agent("bad", publishes=[Note])
        async def bad(_context: Context) -> Discovery:
            return make()

        failure = await failure_of(bad)
        assert failure.kind == "bug"
        assert "agent 'bad'" in failure.message
        assert field in failure.message
        assert problem in failure.message

    run()


@virtually
async def test_a_type_that_is_not_declared_in_publishes_is_a_bug() -> None:
    @agent("silent")
    async def silent(_context: Context) -> Discovery:
        return Discovery([Note(text="surprise")])

    failure = await failure_of(silent)
    assert "'worker_note' is posted, but `publishes` declares nothing" in failure.message


class Mute(Exception):
    """An error that fails to tell its text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Outlaw(BaseException):
    """Meant for nobody to catch."""


RAISED = {
    "declared": (lambda: AgentFailure("user", "no such file"), "user", "no such file"),
    "capacity": (
        lambda: AgentFailure("capacity", "429", retry_after=timedelta(seconds=7)),
        "capacity",
        "429",
    ),
    "timeout": (lambda: TimeoutError("upstream"), "transient", "upstream"),
    "unexpected": (lambda: KeyError("x"), "bug", "KeyError: 'x'"),
    "exit": (lambda: SystemExit(3), "bug", "SystemExit: 3"),
    "group": (lambda: ExceptionGroup("g", [AgentFailure("user", "inner")]), "user", "inner"),
    "mixed": (
        lambda: ExceptionGroup("g", [AgentFailure("user", "a"), ValueError("b")]),
        "bug",
        "ValueError: b",
    ),
    "huge": (lambda: ValueError("x" * 9000), "bug", "ValueError: xxx"),
    "surrogate": (lambda: ValueError("\ud800"), "bug", "ValueError: ?"),
    "mute": (Mute, "bug", "Mute, which cannot be reported as it is: RuntimeError: no text"),
    "kind": (lambda: AgentFailure("bad", "x"), "bug", "AgentFailure, which cannot be reported as it is: "),
    "patience": (lambda: AgentFailure("capacity", "x", retry_after=7), "bug", "AgentFailure, which cannot"),
    "interrupt": (KeyboardInterrupt, "bug", "KeyboardInterrupt"),
    "outlaw": (lambda: BaseExceptionGroup("g", [Outlaw("x")]), "bug", "Outlaw: x"),
}


@pytest.mark.parametrize("case", RAISED)
def test_what_an_agent_raises_is_classified_and_its_worker_lives(case: str) -> None:
    make, kind, message = RAISED[case]

    @virtually
    async def run() -> None:
        @agent("raiser")
        async def raiser(_context: Context) -> Discovery:
            raise make()

        failure = await failure_of(raiser)
        assert failure.kind == kind
        assert message in failure.message
        assert bool(failure.traceback) == (kind == "bug")
        assert "test_running.py" in failure.traceback or kind != "bug"
        assert failure.retry_after_seconds == (7 if kind == "capacity" else None)

    run()


@virtually
async def test_an_agent_that_cancels_itself_is_a_bug_and_the_slot_lives_on() -> None:
    @agent("suicidal")
    async def suicidal(_context: Context) -> Discovery:
        raise anyio.get_cancelled_exc_class()

    async with rig(suicidal, slots=1) as swarm:
        await swarm.leader.dispatch("suicidal")
        await swarm.leader.dispatch("suicidal")
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
        assert all(one.failure and one.failure.kind == "bug" for one in swarm.leader.discoveries)


@virtually
async def test_an_agent_over_its_timeout_is_stopped_and_tried_again() -> None:
    @agent("sleepy", timeout=timedelta(seconds=3))
    async def sleepy(_context: Context) -> Discovery:
        await anyio.sleep(1000)
        return Discovery()

    failure = await failure_of(sleepy)
    assert (failure.kind, failure.message) == ("transient", "agent 'sleepy' did not finish in 3 s")


@virtually
async def test_an_agent_is_stopped_at_the_deadline_of_its_task() -> None:
    @agent("sleepy")
    async def sleepy(_context: Context) -> Discovery:
        await anyio.sleep(1000)
        return Discovery()

    began = anyio.current_time()
    failure = await failure_of(sleepy, deadline_ms=WALL_MS + round(anyio.current_time() * 1000) + 5_000)
    assert failure.kind == "transient"
    assert anyio.current_time() - began < 6


@virtually
async def test_a_dropped_task_is_stopped_forgotten_and_never_published() -> None:
    stopped = anyio.Event()

    @agent("sleepy")
    async def sleepy(_context: Context) -> Discovery:
        try:
            await anyio.sleep(1000)
        finally:
            stopped.set()
        return Discovery()

    async with rig(sleepy, slots=1) as swarm:
        task = await swarm.leader.dispatch("sleepy")
        await swarm.until(lambda: swarm.held == [task.token])
        swarm.leader.control("w1", drop=[{"task": task.task, "token": task.token}])
        await stopped.wait()
        await swarm.at_rest()
        await anyio.sleep(60)
        assert swarm.leader.discoveries == []
        assert len(swarm.saw(LeaseLost)) == 1
        assert [one.outcome for one in swarm.saw(TaskFinished)] == ["dropped"]


@virtually
async def test_agents_do_not_see_each_others_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="clean")
    seen: list[str] = []

    @agent("leaky")
    async def leaky(context: Context) -> Discovery:
        seen.append(variable.get())
        variable.set(context.task)
        return Discovery()

    async with rig(leaky, slots=2) as swarm:
        for _ in range(6):
            await swarm.leader.dispatch("leaky")
        await swarm.until(lambda: len(swarm.leader.discoveries) == 6)
    assert seen == ["clean"] * 6


@virtually
async def test_tasks_run_side_by_side_up_to_the_slots() -> None:
    @agent("sleepy")
    async def sleepy(_context: Context) -> Discovery:
        await anyio.sleep(10)
        return Discovery()

    async with rig(sleepy, slots=8) as swarm:
        began = anyio.current_time()
        for _ in range(16):
            await swarm.leader.dispatch("sleepy")
        await swarm.until(lambda: len(swarm.leader.discoveries) == 16)
        assert 20 <= anyio.current_time() - began < 21


def blocking(context: Context) -> Discovery:
    time.sleep(0.05)
    context.progress()
    found = anyio.from_thread.run(context.step, "ask", {"q": 1}, fetch)
    return Discovery([Note(text=str(found))], reward=0.25)


async def fetch() -> str:
    return "from the loop"


def hang(_context: Context) -> Discovery:
    time.sleep(1.5)
    return Discovery()


@pytest.mark.anyio
async def test_a_blocking_agent_runs_in_a_thread_and_reaches_the_journal() -> None:
    one = Agent("blocking", blocking, publishes=("worker_note",), runs_in="thread")
    async with rig(one) as swarm:
        await swarm.leader.dispatch("blocking")
        discovery = await swarm.discovery()
        assert discovery.failure is None
        assert discovery.artifacts[0].payload["text"] == "from the loop"
        assert discovery.usage.busy_ms >= 50
        assert len(swarm.leader.records) == 1


@pytest.mark.anyio
async def test_a_hung_thread_is_abandoned_at_its_timeout() -> None:
    one = Agent("hung", hang, runs_in="thread", timeout=timedelta(seconds=0.1))
    async with rig(one, slots=1) as swarm:
        await swarm.leader.dispatch("hung")
        discovery = await swarm.discovery()
        assert discovery.failure is not None
        assert discovery.failure.kind == "transient"
        assert swarm.worker.executor.busy_threads == 1
        await swarm.at_rest()


@virtually
async def test_a_dropped_task_is_listed_as_stopping_until_its_run_has_ended() -> None:
    @agent("tidy")
    async def tidy(_context: Context) -> Discovery:
        try:
            await anyio.sleep(600)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
        return Discovery()

    async with rig(tidy) as swarm:
        task = await swarm.leader.dispatch("tidy")
        await swarm.until(lambda: bool(swarm.worker.ledger.taken and swarm.held))
        swarm.leader.control("w1", drop=[{"task": task.task, "token": task.token}])
        await anyio.sleep(1)
        assert [one.state for one in swarm.worker.ledger.beat().held] == ["stopping"]
        await anyio.sleep(5)
        assert swarm.worker.ledger.beat().held == ()
        assert swarm.leader.discoveries == []


@pytest.mark.anyio
async def test_a_dropped_task_is_listed_until_the_thread_that_nothing_can_stop_has_ended() -> None:
    one = Agent("hung", hang, runs_in="thread")
    async with rig(one, slots=1) as swarm:
        task = await swarm.leader.dispatch("hung")
        await swarm.until(lambda: swarm.worker.executor.busy_threads == 1)
        swarm.leader.control("w1", drop=[{"task": task.task, "token": task.token}])
        await swarm.until(lambda: not swarm.worker.ledger.taken)
        assert [one.state for one in swarm.worker.ledger.beat().held] == ["stopping"]
        await swarm.until(lambda: not swarm.worker.ledger.beat().held)
        assert swarm.worker.executor.busy_threads == 0


@virtually
async def test_a_number_that_an_agent_tells_from_its_loop_or_thread_is_noticed() -> None:
    @agent("looped")
    async def looped(context: Context) -> Discovery:
        context.gauge("backlog", 12)
        return Discovery()

    @agent("threaded", runs_in="thread")
    def threaded(context: Context) -> Discovery:
        context.gauge("trust", 0.5)
        return Discovery()

    async with rig(looped, threaded) as swarm:
        for one in (looped, threaded):
            await swarm.leader.dispatch(one.name)
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
        told = {(one.agent, one.name, one.value) for one in swarm.saw(Gauged)}
        assert told == {("looped", "backlog", 12), ("threaded", "trust", 0.5)}


def compute(context: Context) -> Discovery:
    return Discovery([Note(text=f"{context.goal} in {os.getpid()}")], reward=1.0)


def crash(_context: Context) -> Discovery:
    os._exit(9)


def fail(context: Context) -> Discovery:
    raise AgentFailure("capacity", f"no room for {context.topic}", retry_after=timedelta(seconds=2))


def read(context: Context) -> Discovery:
    context.board.query().send(None)
    return Discovery()


def tell(context: Context) -> Discovery:
    context.gauge("backlog", 12)
    return Discovery()


PROCESS_AGENTS = [
    Agent("compute", compute, publishes=("worker_note",), runs_in="process"),
    Agent("crash", crash, runs_in="process"),
    Agent("fail", fail, runs_in="process"),
    Agent("read", read, runs_in="process"),
    Agent("tell", tell, runs_in="process"),
]


@pytest.mark.anyio
async def test_agents_in_processes_return_fail_and_die_apart_from_the_worker() -> None:
    async with rig(*PROCESS_AGENTS, processes=2) as swarm:
        for one in PROCESS_AGENTS:
            await swarm.leader.dispatch(one.name)
        await swarm.until(lambda: len(swarm.leader.discoveries) == 5)
        found = {swarm.leader.tasks[one.token].agent: one for one in swarm.leader.discoveries}
        text = found["compute"].artifacts[0].payload["text"]
        assert text.startswith("the goal in ")
        assert text != f"the goal in {os.getpid()}"
        assert found["crash"].failure.kind == "transient"
        assert (found["fail"].failure.kind, found["fail"].failure.retry_after_seconds) == ("capacity", 2)
        assert "has no board" in found["read"].failure.message
        assert "has no metrics" in found["tell"].failure.message
