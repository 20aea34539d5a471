"""Runs that share the history of another, by the production coordinator and worker in virtual time."""

from collections import Counter
from collections.abc import Callable, Mapping

import anyio
import pytest
from pydantic import BaseModel

from agents.agent import Agent, Context, Discovery, agent
from blackboard import events as ev
from blackboard.encoding import decode_artifact
from blackboard.memory import MemoryStore
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import TaskRow
from coordinator.commands.compare import compared_runs
from coordinator.forking import Forking, Parted
from coordinator.history import Point
from coordinator.overrides import Overrides
from coordinator.records import Records
from protocol.artifacts import artifact
from protocol.errors import InvalidMessage, NotFound
from protocol.messages import FollowUp, QueryRequest, Usage
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually

ONE_CALL = Usage(model_calls=1, tokens_in=10, cost_microdollars=5)
CALLS = 6


@artifact("fork_note")
class Note(BaseModel, frozen=True):
    topic: str
    said: str


class World:
    """What agents do outside of the swarm: every call of a model, and every letter, is counted."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.letters: list[str] = []
        self.opens = anyio.Event()
        """The post office opens when it is set."""
        self.opens.set()

    def agents(self) -> Mapping[str, Agent]:
        return {"talk": self.talker(), "sum": self.summer()}

    def talker(self) -> Agent:
        @agent("talk", publishes=[Note])
        async def talk(context: Context) -> Discovery:
            said = context.topic
            for turn in range(CALLS):
                said = await self._asked(context, turn, said)
            self_done = await context.effect("post", said, self._sent, kind="keyed")
            more = [FollowUp(agent="talk", topic=f"{context.topic}+")] if len(context.topic) < 3 else []
            return Discovery(
                artifacts=[Note(topic=context.topic, said=f"{said} {self_done is not None}")],
                reward=0.5,
                follow_ups=more,
            )

        return talk

    async def _asked(self, context: Context, turn: int, said: str) -> str:
        model = str(context.settings.get("model"))

        async def call() -> str:
            self.calls.append(f"{context.run} {context.topic} {turn} {model}")
            return f"{said}{turn}" if model == "old" else f"{said}{turn}!"

        request = {"model": model, "goal": context.goal, "said": said}
        return str(await context.step("talk", request, call, usage=ONE_CALL))

    async def _sent(self, key: str) -> str:
        await self.opens.wait()
        self.letters.append(key)
        return key

    def summer(self) -> Agent:
        @agent("sum", publishes=[Note])
        async def total(context: Context) -> Discovery:
            notes = [found.payload.said for found in await context.board.all(Note)]
            return Discovery(artifacts=[Note(topic="all", said=" ".join(sorted(notes)))], reward=1.0)

        return total


def run_spec(**changes: object) -> RunSpec:
    fields: dict[str, object] = {
        "run": "run-1",
        "goal": "talk",
        "agents": (
            AgentSpec(name="talk", publishes=("fork_note",), max_visits=1),
            AgentSpec(name="sum", publishes=("fork_note",), trigger="finish"),
        ),
        "roots": (FollowUp(agent="talk", topic="a"), FollowUp(agent="talk", topic="b")),
        "budget": Budget(tasks=20, model_calls=CALLS * 8),
        "settings": {"model": "old"},
    }
    return RunSpec.model_validate(fields | changes)


def forking(hive: Swarm) -> Forking:
    return Forking(hive.store, MemoryTransport(hive.bus), 100)


async def part(hive: Swarm, verb, at: Point, source: str = "run-1", run: str = "run-2", **changes) -> Parted:
    overrides = Overrides.model_validate(changes)
    return await forking(hive).part(source, verb, at, overrides, run, now_ms=hive.clock.now_ms())


async def notes(hive: Swarm, run: str) -> dict[str, str]:
    events = await hive.events(run)
    posted = [one.artifact for one in events if isinstance(one, ev.ArtifactPosted)]
    return {one.payload["topic"]: one.payload["said"] for one in posted}


async def talk_of(hive: Swarm, topic: str, run: str = "run-1") -> TaskRow:
    directions = await hive.directions(run)
    return next(
        one for one in (await hive.task_rows(run)).values() if directions[one.direction].topic == topic
    )


def with_finished_run(test: Callable) -> None:
    async def main() -> None:
        async with swarm() as hive:
            world = World()
            hive.start_coordinator()
            hive.start_worker("w1", world.agents(), slots=1)
            await hive.ended(await hive.submit(run_spec()))
            assert len(world.calls) == CALLS * 6
            world.calls.clear()
            await test(hive, world)

    run_virtually(main)


@pytest.mark.parametrize("step", [1, 3, CALLS])
def test_a_fork_at_a_step_makes_exactly_the_calls_after_it_anew_and_leaves_the_source_as_it_was(step: int):
    async def test(hive: Swarm, world: World) -> None:
        before = await everything(hive.store, "run-1")
        task = await talk_of(hive, "a++")
        parted = await part(hive, "fork", Point(task.id, step), model="new")
        assert (parted.created, parted.steps) == (True, step)
        await hive.ended("run-2")
        mine = [call for call in world.calls if "run-2 a++ " in call]
        assert mine == [f"run-2 a++ {turn} new" for turn in range(step, CALLS)]
        assert await everything(hive.store, "run-1") == before
        state = await hive.check("run-2")
        forked = state.tasks[task.id]
        assert (forked.shared_steps, forked.steps) == (step, CALLS + 2)
        assert forked.shared == Usage(model_calls=step, tokens_in=10 * step, cost_microdollars=5 * step)
        assert forked.usage.model_calls == CALLS
        others = len(world.calls) - len(mine)
        assert state.totals.usage.model_calls == CALLS - step + others

    with_finished_run(test)


async def everything(store: MemoryStore, run: str) -> object:
    kinds = ("run", "task", "direction", "choice", "step", "inquiry")
    rows = {kind: dict(await store.rows(run, kind)) for kind in kinds}
    return rows, [entry.event for entry in await store.log(run, after=0, limit=100_000)]


def test_a_replay_of_a_whole_run_with_the_same_everything_makes_no_call_and_ends_the_same():
    async def test(hive: Swarm, world: World) -> None:
        letters = list(world.letters)
        await part(hive, "replay", Point())
        await hive.ended("run-2")
        assert (world.calls, world.letters) == ([], letters)
        assert await notes(hive, "run-2") == await notes(hive, "run-1")
        state = await hive.check("run-2")
        assert state.tasks.keys() == (await hive.task_rows("run-1")).keys()
        assert state.totals.usage.model_calls == 0
        assert state.totals.shared.model_calls == CALLS * 6

    with_finished_run(test)


def test_a_replay_with_another_model_makes_every_call_and_every_effect_anew():
    async def test(hive: Swarm, world: World) -> None:
        source = await notes(hive, "run-1")
        await part(hive, "replay", Point(), model="new")
        await hive.ended("run-2")
        assert len(world.calls) == CALLS * 6
        assert set(Counter(world.letters).values()) == {1}
        assert len(world.letters) == 12
        assert {
            topic: said.replace("!", "") for topic, said in (await notes(hive, "run-2")).items()
        } == source
        state = await hive.check("run-2")
        assert {task.divergences for task in state.tasks.values() if task.agent == "talk"} == {1}

    with_finished_run(test)


@pytest.mark.parametrize("topic", ["b", "b++"])
def test_a_replay_from_a_task_on_shares_what_had_ended_before_it_and_replays_the_rest(topic: str):
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, topic)
        parted = await part(hive, "replay", Point(task.id))
        assert parted.tasks == sum(
            0 < one.ended < task.began for one in (await hive.task_rows("run-1")).values()
        )
        await hive.ended("run-2")
        assert world.calls == []
        assert await notes(hive, "run-2") == await notes(hive, "run-1")
        await hive.check("run-2")

    with_finished_run(test)


def test_a_fork_before_a_task_with_another_topic_differs_by_that_alone():
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        parted = await part(hive, "fork", Point(task.id), topic="xyz")
        change = parted.spec.origin.changes[0]
        assert (change.of, change.was, change.now) == (task.id, "a++", "xyz")
        await hive.ended("run-2")
        first, second = await notes(hive, "run-1"), await notes(hive, "run-2")
        assert first.keys() - second.keys() == {"a++"}
        assert second.keys() - first.keys() == {"xyz"}
        assert all(first[topic] == second[topic] for topic in first.keys() & second.keys() - {"all"})
        assert await talk_of(hive, "xyz", "run-2") == (await hive.task_rows("run-2"))[task.id]
        await hive.check("run-2")

    with_finished_run(test)


def test_a_fork_of_a_fork_shares_what_both_share_and_keeps_the_ids_of_the_first():
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        await part(hive, "fork", Point(task.id, 4), model="new")
        await hive.ended("run-2")
        world.calls.clear()
        parted = await part(hive, "fork", Point(task.id, 5), "run-2", "run-3", model="newest")
        assert parted.spec.origin.root == "run-1"
        await hive.ended("run-3")
        assert [call for call in world.calls if " a++ " in call] == [f"run-3 a++ {CALLS - 1} newest"]
        state = await hive.check("run-3")
        assert state.tasks[task.id].shared.model_calls == 5
        assert state.tasks.keys() == (await hive.task_rows("run-1")).keys()

    with_finished_run(test)


def test_a_direction_that_a_fork_changed_is_opened_so_in_replays_and_forks_of_it():
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        await part(hive, "fork", Point(task.id), topic="xyz")
        await hive.ended("run-2")
        world.calls.clear()
        for source, run in (("run-2", "run-3"), ("run-3", "run-4")):
            assert (await part(hive, "replay", Point(), source, run)).created
            await hive.ended(run)
            assert world.calls == []
            assert (await talk_of(hive, "xyz", run)).id == task.id
            assert (await compared_runs(Records(hive.store), source, run)).same
            await hive.check(run)
        first = await talk_of(hive, "a", "run-4")
        assert not (await part(hive, "replay", Point(), "run-3", "run-4")).created
        await part(hive, "fork", Point(first.id), "run-4", "run-5", model="new")
        await hive.ended("run-5")
        assert [call for call in world.calls if "xyz" in call] == [
            f"run-5 xyz {turn} new" for turn in range(CALLS)
        ]
        again = await part(hive, "fork", Point(task.id), "run-5", "run-6", topic="uvw")
        assert (again.spec.origin.changes[0].was, again.spec.origin.inherited) == ("xyz", {})
        await hive.ended("run-6")
        assert (await talk_of(hive, "uvw", "run-6")).id == task.id

    with_finished_run(test)


def test_a_finishing_agent_that_a_fork_gave_another_topic_is_forked_and_replayed_with_it():
    async def test(hive: Swarm, world: World) -> None:
        (task,) = [one for one in (await hive.task_rows("run-1")).values() if one.agent == "sum"]
        await part(hive, "fork", Point(task.id), topic="all of it")
        await hive.ended("run-2")
        await part(hive, "fork", Point(task.id), "run-2", "run-3", goal="sum up otherwise")
        await part(hive, "replay", Point(), "run-2", "run-4")
        for run in ("run-3", "run-4"):
            await hive.ended(run)
            assert (await talk_of(hive, "all of it", run)).id == task.id
            assert (await hive.check(run)).totals.tasks == {"done": 7}

    with_finished_run(test)


def test_a_finishing_agent_is_forked_alone():
    async def test(hive: Swarm, world: World) -> None:
        (task,) = [one for one in (await hive.task_rows("run-1")).values() if one.agent == "sum"]
        parted = await part(hive, "fork", Point(task.id), goal="sum up otherwise")
        assert parted.tasks == 6
        await hive.ended("run-2")
        assert world.calls == []
        state = await hive.check("run-2")
        assert (state.totals.status, state.totals.tasks) == ("done", {"done": 7})
        assert state.totals.shared == (await hive.totals("run-1")).usage
        assert await notes(hive, "run-2") == await notes(hive, "run-1")

    with_finished_run(test)


def test_a_running_run_is_forked_at_a_finished_step_and_both_end():
    async def main() -> None:
        async with swarm() as hive:
            world, gate = World(), anyio.Event()
            agents = dict(world.agents())
            talk = agents["talk"].function

            @agent("talk", publishes=[Note])
            async def slow(context: Context) -> Discovery:
                if context.run == "run-1" and context.topic == "b":
                    await gate.wait()
                return await talk(context)

            hive.start_coordinator()
            hive.start_worker("w1", {**agents, "talk": slow}, slots=2)
            run = await hive.submit(run_spec())
            await anyio.sleep(60)
            task = await talk_of(hive, "a+")
            assert (await talk_of(hive, "b")).status == "running"
            await part(hive, "fork", Point(task.id, 2), model="new")
            await hive.ended("run-2")
            assert not (await hive.totals(run)).ended
            gate.set()
            await hive.ended(run)
            await hive.check(run)
            await hive.check("run-2")
            assert (await notes(hive, run)).keys() == (await notes(hive, "run-2")).keys()

    run_virtually(main)


def test_a_replay_leaves_out_an_intent_whose_outcome_is_not_known_and_the_effect_happens_there_anew():
    async def main() -> None:
        async with swarm() as hive:
            world = World()
            world.opens = anyio.Event()
            hive.start_coordinator()
            hive.start_worker("w1", world.agents(), slots=1)
            run = await hive.submit(run_spec())
            await anyio.sleep(60)
            task = await talk_of(hive, "a")
            assert (task.status, task.steps) == ("running", CALLS + 1)
            assert (await part(hive, "replay", Point())).steps == CALLS
            world.opens.set()
            await hive.ended(run)
            await hive.ended("run-2")
            await hive.check("run-2")
            assert set(Counter(world.letters).values()) == {1}

    run_virtually(main)


def test_a_fork_has_as_much_time_as_its_source_had():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", World().agents(), slots=1)
            await hive.ended(await hive.submit(run_spec(deadline_ms=hive.clock.now_ms() + 90_000)))
            await anyio.sleep(3_600)
            task, now_ms = await talk_of(hive, "a"), hive.clock.now_ms()
            parted = await part(hive, "fork", Point(task.id), goal="talk again")
            assert parted.spec.deadline_ms == now_ms + 90_000
            await hive.ended("run-2")
            assert (await hive.totals("run-2")).tasks == {"done": 7}

    run_virtually(main)


class Dead(BaseException):
    """The process that forks is gone."""


class Mortal:
    """A store whose caller dies at its nth call, before it or after it."""

    def __init__(self, store: MemoryStore, calls: int, *, after: bool) -> None:
        self._store = store
        self.left = calls
        self._after = after

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        async def call(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise Dead
            result = await method(*args, **kwargs)
            if self.left == 0:
                raise Dead
            return result

        return call


def test_whoever_forks_may_die_at_any_call_of_the_store_and_leaves_no_fork_or_the_whole_fork():
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        hive.kill("c1")
        runs = await hive.store.runs(active=False)
        whole = await one_fork(hive, hive.store, "whole", task)
        died = 0
        for after in (False, True):
            for calls in range(1, 100):
                store, run = Mortal(hive.store, calls, after=after), f"run-{calls}-{after}"
                try:
                    await one_fork(hive, store, run, task)
                except Dead:
                    died += 1
                else:
                    break
                if run in await hive.store.runs(active=False):
                    assert await likened(hive, run) == await likened(hive, "whole")
                again = await one_fork(hive, hive.store, run, task)
                assert (again.tasks, again.steps) == (whole.tasks, whole.steps)
                assert await likened(hive, run) == await likened(hive, "whole")
                await hive.check(run)
        assert died >= 20
        assert await hive.store.runs(active=False) != runs

    with_finished_run(test)


async def one_fork(hive: Swarm, store, run: str, task: TaskRow) -> Parted:
    forks = Forking(store, MemoryTransport(hive.bus), 1000)
    overrides = Overrides(model="new")
    return await forks.part("run-1", "fork", Point(task.id, 3), overrides, run, now_ms=5)


async def likened(hive: Swarm, run: str) -> str:
    """All of a run, its own name apart."""
    rows, log = await everything(hive.store, run)
    tokens = {row.token for row in (await hive.task_rows(run)).values()} - {""}
    events = await hive.events(run)
    tokens |= {one.token for one in events if isinstance(one, ev.TaskDispatched)}
    text = repr((rows, log)).replace(run, "RUN")
    for token in sorted(tokens):
        text = text.replace(token, "TOKEN")
    return text


def test_large_values_are_copied_so_that_a_fork_outlives_its_source():
    async def main() -> None:
        async with swarm() as hive:
            long = "x" * 200_000

            @agent("talk", publishes=[Note])
            async def talk(context: Context) -> Discovery:
                async def call() -> str:
                    calls.append(context.run)
                    return long

                said = [str(await context.step("talk", {"turn": turn}, call)) for turn in range(3)]
                return Discovery(artifacts=[Note(topic=context.topic, said=said[0])], reward=0.5)

            calls: list[str] = []
            hive.start_coordinator()
            hive.start_worker("w1", {"talk": talk}, slots=1)
            spec = run_spec(agents=(AgentSpec(name="talk", publishes=("fork_note",), max_visits=1),))
            await hive.ended(await hive.submit(spec))
            calls.clear()
            task = await talk_of(hive, "b")
            await part(hive, "fork", Point(task.id, 2), goal="else")
            await hive.store.finish("run-1", await hive.store.head("run-1"), keep_seconds=0.001)
            await anyio.sleep(7200)
            assert await hive.store.runs(active=False) == ["run-2"]
            await hive.ended("run-2")
            assert calls == ["run-2"]
            (page,) = [await hive.store.query("run-2", QueryRequest(agent="talk"), now_ms=0)]
            digests = {decode_artifact(one).digest for one in page.artifacts}
            assert len(page.artifacts) == 2
            assert len(digests) == 2
            for one in page.artifacts:
                body = decode_artifact(one).body
                data, size = await hive.store.get("run-2", body.digest, offset=0, limit=10**6)
                assert len(data) == size > 200_000

    run_virtually(main)


def test_what_was_asked_and_answered_is_shared_with_the_task_that_asked():
    async def main() -> None:
        async with swarm() as hive:

            @agent("talk")
            async def talk(context: Context) -> Discovery:
                answer = await context.ask("sum", f"about {context.topic}?")
                heard.append(f"{context.run} {context.topic} {answer}")
                return Discovery(reward=0.5)

            @agent("sum", publishes=[Note])
            async def answering(context: Context) -> Discovery:
                asked.append(context.run)
                return Discovery(reward=1.0, artifacts=[Note(topic=context.topic, said="yes")])

            heard: list[str] = []
            asked: list[str] = []
            hive.start_coordinator()
            hive.start_worker("w1", {"talk": talk, "sum": answering}, slots=1)
            spec = run_spec(
                agents=(
                    AgentSpec(name="talk", max_visits=1),
                    AgentSpec(name="sum", publishes=("fork_note",), trigger="artifacts"),
                )
            )
            await hive.ended(await hive.submit(spec))
            assert len(asked) == 2
            last = max((await hive.task_rows("run-1")).values(), key=lambda task: task.ended)
            assert last.agent == "talk"
            await part(hive, "fork", Point(last.id, 0))
            await hive.ended("run-2")
            state = await hive.check("run-2")
            assert asked == ["run-1", "run-1", "run-2"]
            assert len(state.inquiries) == 2
            assert all(row.answer is not None for row in state.inquiries.values())
            await part(hive, "replay", Point(), run="run-3")
            await hive.ended("run-3")
            assert len(asked) == 3, "answers are in the journals"
            assert len(heard) == 5
            await hive.check("run-3")

    run_virtually(main)


@pytest.mark.parametrize(
    ("step", "changes", "words"),
    [
        (99, {}, "step: task .* has recorded 8 steps"),
        (7, {}, "step: an effect was begun at step 6 .* part at step 6, or after the outcome"),
        (2, {"model": "old"}, "model: is what run run-1 has already"),
        (2, {"goal": "talk"}, "goal: is what run run-1 has already"),
        (
            2,
            {"prompts": {"walk": "slowly"}},
            "prompts.walk: run run-1 has no agent 'walk'; name one of talk, sum",
        ),
        (2, {"builds": {"walk": "2"}}, "builds.walk: run run-1 has no agent 'walk'; name one of talk, sum"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_the_remedy(step: int, changes, words: str):
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        with pytest.raises(InvalidMessage, match=words):
            await part(hive, "fork", Point(task.id, step), **changes)
        assert await hive.store.runs(active=False) == ["run-1"]

    with_finished_run(test)


def test_the_same_id_for_another_fork_is_refused_and_for_the_same_one_it_is_the_same():
    async def test(hive: Swarm, world: World) -> None:
        task = await talk_of(hive, "a++")
        assert (await part(hive, "fork", Point(task.id, 3))).created
        assert not (await part(hive, "fork", Point(task.id, 3))).created
        with pytest.raises(InvalidMessage, match="id: run run-2 exists and comes from elsewhere"):
            await part(hive, "fork", Point(task.id, 2))
        with pytest.raises(NotFound, match="task"):
            await part(hive, "fork", Point("task-none"), run="run-3")
        with pytest.raises(NotFound, match="run"):
            await part(hive, "fork", Point(task.id), "run-9", "run-3")

    with_finished_run(test)


def test_a_model_that_nobody_asks_is_no_override():
    async def main() -> None:
        async with swarm() as hive:

            @agent("talk")
            async def talk(context: Context) -> Discovery:
                return Discovery(reward=0.5)

            hive.start_coordinator()
            hive.start_worker("w1", {"talk": talk}, slots=1)
            await hive.ended(await hive.submit(run_spec(agents=(AgentSpec(name="talk", max_visits=1),))))
            task = await talk_of(hive, "a")
            with pytest.raises(InvalidMessage, match="model: no task of run run-1 has called a model"):
                await part(hive, "fork", Point(task.id), model="new")

    run_virtually(main)
