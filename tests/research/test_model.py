"""The research roles and DSPy agents over real HTTP against a scripted model server."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from pydantic import BaseModel, ConfigDict

from agents.agent import AgentFailure, Context
from agents.dspy_agent import dspy_agent
from agents.model_settings import ModelSettings
from agents.research import AGENTS
from agents.research.artifacts import Finding, Passage, Plan, Rejected, Report
from agents.research.dspy_roles import ModelRoles
from protocol.artifacts import artifact
from tests.support.agent_context import FakeContext, MemoryBoard, Research, discover, run_agent
from tests.support.model_server import ModelServer, Reply, fields, running

BY_NAME = {agent.name: agent for agent in AGENTS}
QUESTION = "What happens to a kettle that boils dry?"
KETTLE = """Kettles

A kettle that boils dry switches itself off.
The switch is a bimetallic strip.

Other things

Toasters pop up when the bread is done.
"""


@pytest.fixture(autouse=True)
def model_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_API_KEY", "key-of-the-tests")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with running(ModelServer()) as scripted:
        yield scripted


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "kettle.md").write_text(KETTLE)
    return folder


@pytest.fixture
def settings(server: ModelServer, corpus: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "corpus": [str(corpus)],
        "cache": str(tmp_path / "cache"),
        "model": "openai/scripted",
        "api_base": server.url,
        "api_key_env": "TESTS_API_KEY",
        "model_timeout_seconds": 1,
    }


def exploring(settings: dict[str, Any], **options: Any) -> FakeContext:
    return FakeContext("explore", QUESTION, settings, "kettle boils dry", **options)


def reading(quote: str) -> str:
    judgements = [{"passage": 1, "relevance": 0.9, "quote": quote, "why": "says it"}]
    return fields(reasoning="plain", judgements=judgements, follow_ups=["bimetallic strip"])


@pytest.mark.anyio
async def test_a_quotation_that_a_model_chose_is_located_at_its_lines(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    server.script = [Reply(reading("boils dry switches itself off.\nThe switch is"))]
    context = exploring(settings)
    discovery = await run_agent(BY_NAME["explore"], context)
    (passage,) = context.board.of(Passage)
    assert (passage.payload.start_line, passage.payload.end_line) == (3, 4)
    assert passage.payload.judgement == 0.9
    assert discovery.reward == pytest.approx(passage.payload.fit), "nothing is known of the judge yet"
    assert discovery.follow_ups[0].topic == "bimetallic strip"
    assert (context.usage.model_calls, context.usage.tokens_in, context.usage.tokens_out) == (1, 11, 7)
    assert context.usage.cost_microdollars is None
    assert server.keys == ["Bearer key-of-the-tests"]


@pytest.mark.anyio
async def test_a_quotation_that_a_model_made_up_is_rejected(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    server.script = [Reply(reading("A kettle that boils dry explodes."))]
    context = exploring(settings)
    discovery = await run_agent(BY_NAME["explore"], context)
    assert context.board.of(Passage) == []
    (rejected,) = context.board.of(Rejected)
    assert (rejected.payload.reason, rejected.payload.path) == ("not_in_passage", "kettle.md")
    assert discovery.reward == 0.0


@pytest.mark.anyio
async def test_a_second_attempt_does_not_ask_the_model_again(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    server.script = [Reply(reading("The switch is a bimetallic strip."))]
    first = exploring(settings)
    before = await discover(BY_NAME["explore"], first)
    again = await discover(BY_NAME["explore"], exploring(settings, attempt=2, journal=first.journal))
    assert again == before
    assert len(server.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=500), "transient"),
        (Reply(status=503), "transient"),
        (Reply(status=401), "user"),
        (Reply(status=402), "user"),
        (Reply(hang_seconds=1.6), "transient"),
        (Reply(drop=True), "transient"),
    ],
    ids=["500", "503", "401", "402", "hang", "drop"],
)
async def test_a_models_error_says_who_must_act(
    reply: Reply, kind: str, server: ModelServer, settings: dict[str, Any]
) -> None:
    server.script = [reply]
    with pytest.raises(AgentFailure) as raised:
        await discover(BY_NAME["explore"], exploring(settings))
    assert raised.value.kind == kind
    assert len(server.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "patience"),
    [
        ("7", timedelta(seconds=7)),
        ("-7", None),
        ("nan", None),
        ("1e300", timedelta(days=1)),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta(0)),
    ],
)
async def test_a_rate_limit_asks_for_patience_and_is_not_retried_in_the_slot(
    asked: str, patience: timedelta | None, server: ModelServer, settings: dict[str, Any]
) -> None:
    server.script = [Reply(status=429, headers={"retry-after": asked})]
    with pytest.raises(AgentFailure) as raised:
        await discover(BY_NAME["explore"], exploring(settings))
    assert (raised.value.kind, raised.value.retry_after) == ("capacity", patience)
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_garbage_is_asked_for_again_once_and_then_is_transient(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    server.otherwise = lambda prompt: Reply("I would rather talk about the weather.")
    with pytest.raises(AgentFailure) as raised:
        await discover(BY_NAME["explore"], exploring(settings))
    assert raised.value.kind == "transient"
    assert len(server.requests) == 2


@pytest.mark.anyio
async def test_a_body_that_is_no_json_may_pass(server: ModelServer, settings: dict[str, Any]) -> None:
    server.otherwise = lambda prompt: Reply(raw=b"<html>gateway</html>")
    with pytest.raises(AgentFailure) as raised:
        await discover(BY_NAME["explore"], exploring(settings))
    assert raised.value.kind == "transient"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["PATH", "AWS_SECRET", "home_api_key"])
async def test_a_run_cannot_name_any_variable_as_its_key(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(AgentFailure) as raised:
        await discover(BY_NAME["explore"], exploring({**settings, "api_key_env": name}))
    assert raised.value.kind == "user"


@pytest.mark.anyio
async def test_a_missing_key_is_the_users_to_set(settings: dict[str, Any]) -> None:
    with pytest.raises(AgentFailure, match="ABSENT_API_KEY is not set"):
        await discover(BY_NAME["explore"], exploring({**settings, "api_key_env": "ABSENT_API_KEY"}))


def play(prompt: str) -> Reply:
    """A whole run's model: plans, reads honestly, and writes two sentences that may not stand."""
    if "[[ ## outline ## ]]" in prompt:
        return Reply(fields(reasoning="r", directions=["kettle boils dry", "bimetallic strip"]))
    if "[[ ## passages ## ]]" in prompt:
        return Reply(reading("A kettle that boils dry switches itself off."))
    sentences = [
        {"text": "It switches itself off when it boils dry.", "citations": [1]},
        {"text": "It is a good kettle, says everybody.", "citations": []},
        {"text": "It `explodes when dry`.", "citations": [1]},
        {"text": "Kettles are described elsewhere.", "citations": [99]},
    ]
    return Reply(fields(reasoning="r", sentences=sentences))


@pytest.mark.anyio
async def test_a_whole_run_with_a_model_drops_statements_that_nothing_bears(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    server.otherwise = play
    research = Research(QUESTION, settings)
    await research.run(BY_NAME, 2)
    await research.report(BY_NAME["report"])
    (plan,) = research.board.of(Plan)
    assert plan.payload.mode == "model"
    assert "bimetallic strip" in [item.topic for item in plan.payload.directions]
    (report,) = research.board.of(Report)
    assert report.payload.mode == "model"
    assert [statement.text for statement in report.payload.statements] == [
        "It switches itself off when it boils dry."
    ]
    assert report.payload.dropped_statements == 3
    assert "kettle.md:3" in report.payload.answer
    assert len(research.board.of(Finding)) == 1


@pytest.mark.anyio
async def test_roles_speak_to_any_dspy_model(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    answers = DummyLM([{"reasoning": "r", "directions": '["steam", " "]'}])
    monkeypatch.setattr("agents.research.dspy_roles.language_model", lambda _: answers)
    context: Context = FakeContext("plan", QUESTION, settings)
    roles = ModelRoles(context, ModelSettings(model="dummy"))
    assert await roles.plan(QUESTION, []) == ("steam",)


@artifact("test-summary")
class Summary(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    summary: str


class Summarize(dspy.Signature):
    """Sum up."""

    topic: str = dspy.InputField()
    quote: str = dspy.InputField()
    summary: str = dspy.OutputField()
    reward: float = dspy.OutputField()
    follow_ups: list[str] = dspy.OutputField()


def passage_on(board: MemoryBoard) -> list[Any]:
    passage = Passage(path="a", start_line=1, end_line=1, quote="a kettle")
    return board.add("explore", "direction", "task", [passage])


@pytest.mark.anyio
async def test_a_dspy_module_is_one_line_away_from_being_an_agent(
    server: ModelServer, settings: dict[str, Any]
) -> None:
    summarize = dspy_agent(
        "summarize", dspy.Predict(Summarize), consumes=[Passage], publishes=Summary, follow_up_agent="explore"
    )
    server.script = [Reply(fields(summary="short", reward=0.25, follow_ups=["steam"]))]
    board = MemoryBoard()
    context = FakeContext("summarize", "goal", settings, "kettles", inputs=passage_on(board), board=board)
    discovery = await run_agent(summarize, context)
    assert summarize.consumes == ("passage",)
    assert [found.payload.summary for found in board.of(Summary)] == ["short"]
    assert discovery.reward == 0.25
    assert [item.topic for item in discovery.follow_ups] == ["steam"]
    assert "a kettle" in server.requests[0]["messages"][-1]["content"]


@pytest.mark.anyio
async def test_a_module_without_a_reward_earns_one(server: ModelServer, settings: dict[str, Any]) -> None:
    plain = dspy_agent("plain", dspy.Predict("topic -> summary"), publishes=Summary)
    server.script = [Reply(fields(summary="short"))]
    discovery = await discover(plain, FakeContext("plain", "goal", settings, "kettles"))
    assert discovery.reward == 1.0


@pytest.mark.anyio
async def test_an_input_that_nothing_fills_is_said(settings: dict[str, Any]) -> None:
    asking = dspy_agent("asking", dspy.Predict("recipe -> summary"), publishes=Summary)
    with pytest.raises(AgentFailure, match="recipe"):
        await discover(asking, FakeContext("asking", "goal", settings))


def test_research_without_a_model_does_not_load_dspy(run_python: Callable[[str], str]) -> None:
    loaded = run_python("import agents.research, agents.command, sys; print('dspy' in sys.modules)")
    assert re.fullmatch(r"False\s*", loaded)
