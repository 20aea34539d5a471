"""Tools that a model calls: steps and effects as they were declared, and errors without local paths."""

import json
import logging
from collections.abc import Callable

import dspy
import pytest

from agents.agent import AgentFailure, Context, Discovery, Happened, agent
from agents.dspy_model import run
from agents.effects import idempotency_key, tool
from protocol.errors import InvalidAgent
from protocol.messages import Answer, Step, SwarmDiscovery
from tests.dspy.programs import Attempt, attempt, sent
from tests.support.model_server import ModelServer, Reply, fields
from tests.worker.rig import rig

pytestmark = pytest.mark.anyio


def calls(*tools: tuple[str, dict[str, object]]) -> list[Reply]:
    """A model that calls these tools, one after the other, and then answers."""
    rounds = [
        fields(next_thought="t", next_tool_name=name, next_tool_args=arguments) for name, arguments in tools
    ]
    done = fields(next_thought="t", next_tool_name="finish", next_tool_args={})
    return [Reply(content) for content in (*rounds, done, fields(reasoning="r", answer="a"))]


def reacting(*tools: Callable) -> dspy.Module:
    return dspy.ReAct("question -> answer", tools=list(tools))


class Blocking(dspy.Module):
    """The same program without an `aforward`: it runs in a thread."""

    def __init__(self, *tools: Callable) -> None:
        super().__init__()
        self.react = reacting(*tools)

    def forward(self, question: str) -> dspy.Prediction:
        return self.react(question=question)


def post(kind: str | None, keys: list[str], **options: object) -> Callable:
    def mail(to: str) -> str:
        """Sends a letter."""
        keys.append(idempotency_key())
        return f"sent to {to}"

    return mail if kind is None else tool(kind, **options)(mail)


def kinds(found: Attempt) -> list[str]:
    return [step.kind for step in found.steps if step.kind != "model"]


@pytest.mark.parametrize("program", [reacting, Blocking], ids=["in the loop", "in a thread"])
async def test_a_pure_tool_is_a_step(program: Callable, server: ModelServer, lm: dspy.LM) -> None:
    looked: list[str] = []

    @tool("pure")
    def look(where: str) -> str:
        """Looks."""
        looked.append(where)
        return "nothing"

    server.script = calls(("look", {"where": "here"}), ("look", {"where": "here"}))
    first = await attempt(program(look), {"question": "q"}, lm)
    assert kinds(first) == ["pure", "pure"]
    assert first.outputs["answer"] == "a"
    await attempt(program(look), {"question": "q"}, lm, first.steps)
    assert looked == ["here", "here"]
    assert len(server.requests) == 4


@pytest.mark.parametrize("program", [reacting, Blocking], ids=["in the loop", "in a thread"])
@pytest.mark.parametrize("declared", ["keyed", None])
async def test_any_other_tool_is_an_effect_with_a_key_of_its_own(
    declared: str | None, program: Callable, server: ModelServer, lm: dspy.LM
) -> None:
    keys: list[str] = []
    server.script = calls(("mail", {"to": "ann"}), ("mail", {"to": "bob"}))
    first = await attempt(program(post(declared, keys)), {"question": "q"}, lm)
    assert kinds(first) == ["intent", "effect", "intent", "effect"]
    assert first.steps[1].value["effect"] == (declared or "unsafe")
    assert len(set(keys)) == 2
    await attempt(program(post(declared, keys)), {"question": "q"}, lm, first.steps)
    assert len(keys) == 2


async def test_an_async_tool_is_awaited_in_both_ways_of_running(server: ModelServer, lm: dspy.LM) -> None:
    @tool("idempotent")
    async def ring(times: int) -> int:
        """Rings."""
        return times + 1

    for program in (reacting, Blocking):
        server.script = calls(("ring", {"times": 2}))
        found = await attempt(program(ring), {"question": "q"}, lm)
        assert found.discovery.outcome == "done"
        assert [step.value for step in found.steps if step.kind == "effect"] == [{"value": 3}]


async def test_a_keyed_tool_whose_outcome_was_lost_is_called_again_under_the_same_key(
    server: ModelServer, lm: dspy.LM
) -> None:
    keys: list[str] = []
    server.script = calls(("mail", {"to": "ann"}))
    first = await attempt(reacting(post("keyed", keys)), {"question": "q"}, lm)
    lost = [step.kind for step in first.steps].index("effect")
    server.script = calls()
    second = await attempt(reacting(post("keyed", keys)), {"question": "q"}, lm, first.steps[:lost])
    assert second.discovery.outcome == "done"
    assert keys == [keys[0]] * 2


async def test_a_reconciled_tool_returns_what_its_target_knows(server: ModelServer, lm: dspy.LM) -> None:
    keys: list[str] = []
    asked: list[str] = []

    def find(key: str) -> Happened:
        asked.append(key)
        return Happened("sent, says the post office")

    server.script = calls(("mail", {"to": "ann"}))
    mail = post("reconcilable", keys, reconcile=find)
    first = await attempt(reacting(mail), {"question": "q"}, lm)
    lost = [step.kind for step in first.steps].index("effect")
    server.script = calls()
    await attempt(reacting(mail), {"question": "q"}, lm, first.steps[:lost])
    assert asked == keys
    assert "sent, says the post office" in sent(server)[-1]


async def test_an_undeclared_tool_whose_outcome_was_lost_waits_for_a_person(
    server: ModelServer, lm: dspy.LM
) -> None:
    keys: list[str] = []
    server.script = calls(("mail", {"to": "ann"}))
    first = await attempt(reacting(post(None, keys)), {"question": "q"}, lm)
    lost = [step.kind for step in first.steps].index("effect")
    for program in (reacting, Blocking):
        second = await attempt(program(post(None, keys)), {"question": "q"}, lm, first.steps[:lost])
        assert second.discovery.outcome == "waiting"
        assert second.discovery.waits[0].path == "unknown/program/mail/0"
    assert len(keys) == 1


@pytest.mark.parametrize("program", [reacting, Blocking], ids=["in the loop", "in a thread"])
@pytest.mark.parametrize("kind", ["pure", "keyed"])
async def test_a_tools_error_reaches_the_model_without_paths_and_is_replayed(
    kind: str, program: Callable, server: ModelServer, lm: dspy.LM
) -> None:
    tried: list[int] = []

    @tool(kind)
    def fail(number: int) -> str:
        """Fails."""
        tried.append(number)
        raise ValueError("no such number")

    server.script = calls(("fail", {"number": 1}))
    first = await attempt(program(fail), {"question": "q"}, lm)
    assert first.discovery.outcome == "done"
    told = sent(server)[1]
    assert "Execution error in fail" in told
    assert "ValueError: no such number" in told
    assert ".py" not in told
    assert "/" not in told.partition("Execution error")[2].partition("[[")[0]
    await attempt(program(fail), {"question": "q"}, lm, first.steps)
    assert (tried, len(server.requests)) == ([1], 3)


class Mute(Exception):
    """An error that fails to tell its text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def stop(error: BaseException) -> object:
    raise error


ODD: dict[str, tuple[Callable[[], object], str]] = {
    "no number": (lambda: {"cost": float("nan")}, '{"cost": "nan"}'),
    "half a character": (lambda: "name: \udce9", "name: ?"),
    "deep": (lambda: json.loads("[" * 100 + "]" * 100), "[[[["),
    "exit": (lambda: stop(SystemExit(2)), "SystemExit: 2"),
    "mute": (lambda: stop(Mute()), "Mute, whose text cannot be had"),
    "half an error": (lambda: stop(ValueError("\ud800")), "ValueError: ?"),
}


@pytest.mark.parametrize("case", ODD)
async def test_whatever_a_tool_does_its_effect_has_an_outcome_that_the_model_sees(
    case: str, server: ModelServer, lm: dspy.LM, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is kept from pytest: half a character in it cannot travel between pytest's processes."""
    caplog.set_level(logging.CRITICAL, "agents.dspy_tools")
    does, seen = ODD[case]

    def act(number: int) -> object:
        """Acts."""
        return does()

    server.script = calls(("act", {"number": 1}))
    found = await attempt(reacting(act), {"question": "q"}, lm)
    assert found.discovery.outcome == "done", found.discovery.failure
    assert kinds(found) == ["intent", "effect"]
    assert seen in sent(server)[1]


@pytest.mark.parametrize("program", [reacting, Blocking], ids=["in the loop", "in a thread"])
async def test_what_a_tool_says_of_the_whole_task_is_not_for_the_model(
    program: Callable, server: ModelServer, lm: dspy.LM
) -> None:
    @tool("keyed")
    def closed(number: int) -> str:
        """Is closed."""
        raise AgentFailure("capacity", "come back on Monday")

    server.script = calls(("closed", {"number": 1}))
    found = await attempt(program(closed), {"question": "q"}, lm)
    assert found.discovery.failure is not None
    assert (found.discovery.failure.kind, found.discovery.failure.message) == (
        "capacity",
        "come back on Monday",
    )
    assert len(server.requests) == 1


async def test_tools_of_parallel_branches_have_keys_of_their_own(server: ModelServer, lm: dspy.LM) -> None:
    class Many(dspy.Module):
        def __init__(self, keys: list[str]) -> None:
            super().__init__()
            self.react = reacting(post("keyed", keys))

        def forward(self, names: list[str]) -> dspy.Prediction:
            parallel = dspy.Parallel(num_threads=4, disable_progress_bar=True)
            pairs = [(self.react, {"question": name}) for name in names]
            return dspy.Prediction(answers=[found.answer for found in parallel(pairs)])

    def play(prompt: str) -> Reply:
        if "## next_tool_name ##" not in prompt:
            return Reply(fields(reasoning="r", answer="a"))
        name = prompt.partition("[[ ## question ## ]]")[2].strip()[:3]
        done = "observation_0" in prompt
        name, arguments = ("finish", {}) if done else ("mail", {"to": name})
        return Reply(fields(next_thought="t", next_tool_name=name, next_tool_args=arguments))

    server.otherwise = play
    keys: list[str] = []
    names = ["ann", "bob", "cat", "dan"]
    first = await attempt(Many(keys), {"names": names}, lm)
    assert first.discovery.outcome == "done", first.discovery.failure
    assert len(set(keys)) == 4
    assert len({step.path for step in first.steps if step.kind == "effect"}) == 4
    lost = [step for step in first.steps if step.kind != "effect"]
    again: list[str] = []
    second = await attempt(Many(again), {"names": names[::-1]}, lm, lost)
    assert second.discovery.outcome == "done"
    assert sorted(again) == sorted(keys)


def test_a_tool_without_its_reconciler_is_refused_where_it_is_declared() -> None:
    with pytest.raises(InvalidAgent, match="reconcile"):
        tool("reconcilable")
    with pytest.raises(InvalidAgent, match="no kind"):
        tool("harmless")


def test_there_is_no_key_outside_of_an_effect() -> None:
    with pytest.raises(LookupError, match="keyed"):
        idempotency_key()


async def test_a_tool_may_ask_a_person_and_hold_no_worker(server: ModelServer, lm: dspy.LM) -> None:
    async def attempted(journal: list[Step]) -> tuple[SwarmDiscovery, list[Step], list[str]]:
        answers: list[str] = []

        @agent("program")
        async def program(context: Context) -> Discovery:
            @tool("waits")
            async def ask(question: str) -> str:
                """Asks a person."""
                return str(await context.ask_human(question))

            found = await run(context, "program", reacting(ask), {"question": "q"}, lm)
            answers.append(found.answer)
            return Discovery()

        async with rig(program) as swarm:
            await swarm.leader.dispatch("program", steps=journal)
            discovery = await swarm.discovery()
            return discovery, [step for record in swarm.leader.records for step in record.steps], answers

    server.script = calls(("ask", {"question": "may I?"}))
    waiting, steps, _ = await attempted([])
    (wait,) = waiting.waits
    assert (waiting.outcome, wait.question, len(server.requests)) == ("waiting", "may I?", 1)
    value = Answer(value="you may").model_dump(mode="json", exclude_defaults=True)
    told = Step(kind="answer", path=wait.path, request=wait.request, value=value)
    done, _, answers = await attempted([*steps, told])
    assert (done.outcome, answers, len(server.requests)) == ("done", ["a"], 3)
    assert "you may" in sent(server)[1]
