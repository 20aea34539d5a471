"""Examples that need more than a page can type: a model."""

from importlib import import_module

import pytest

from tests.docs.pages import ROOT
from tests.support.agent_context import FakeContext, discover
from tests.support.model_server import ModelServer, Reply, fields, running

pytestmark = pytest.mark.anyio


async def test_the_dspy_module_of_the_page_is_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/examples"))
    monkeypatch.setenv("TESTS_API_KEY", "key-of-the-tests")
    example = import_module("summary")
    with running(ModelServer(script=[Reply(fields(summary="short"))])) as server:
        settings = {"model": "openai/scripted", "api_base": server.url, "api_key_env": "TESTS_API_KEY"}
        found = await discover(example.summarize, FakeContext("summarize", "goal", settings, "kettles"))
    assert found.artifacts == [example.Summary(summary="short")]
    assert "kettles" in server.requests[0]["messages"][-1]["content"]


async def test_the_tools_of_the_page_are_steps_and_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/examples"))
    monkeypatch.setenv("TESTS_API_KEY", "key-of-the-tests")
    example = import_module("asking")
    rounds = [
        fields(next_thought="t", next_tool_name="stock", next_tool_args={"article": "kettle"}),
        fields(next_thought="t", next_tool_name="order", next_tool_args={"article": "kettle", "pieces": 2}),
        fields(next_thought="t", next_tool_name="finish", next_tool_args={}),
        fields(reasoning="r", answer="ordered"),
    ]
    with running(ModelServer(script=[Reply(content) for content in rounds])) as server:
        settings = {"model": "openai/scripted", "api_base": server.url, "api_key_env": "TESTS_API_KEY"}
        context = FakeContext("asking", "goal", settings, "two kettles, please")
        found = await discover(example.asking, context)
    assert found.artifacts == [example.Reply(answer="ordered")]
    model, tools = "dspy/asking", ["dspy/asking/stock", "dspy/asking/order"]
    assert context.paths == [model, tools[0], model, tools[1], model, model]
