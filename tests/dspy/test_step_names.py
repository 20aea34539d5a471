"""Names of steps, which journals of running tasks hold: a change strands their recorded calls.

Where a name must change, say so in the changelog: tasks that are under way diverge, and pay again. Where it
is one of the research agents', count up `agents.research.settings.BUILD`. Those of DSPy's own modules are in
`step_names`, which `test_replay` compares.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import dspy
import pytest

from agents.agent import Context, Discovery, agent
from agents.research import AGENTS
from protocol.ids import derive
from tests.dspy.programs import Crowd, Twice, attempt, echo
from tests.support.agent_context import FakeContext, Research, discover, run_agent
from tests.support.model_server import ModelServer, Reply, fields
from tests.worker.rig import rig

pytestmark = pytest.mark.anyio
BY_NAME = {agent.name: agent for agent in AGENTS}
QUESTION = "What happens to a kettle that boils dry?"
QUOTE = "A kettle that boils dry switches itself off."


@pytest.fixture
def settings(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("TESTS_API_KEY", "key-of-the-tests")
    (tmp_path / "kettle.md").write_text(f"Kettles\n\n{QUOTE}\n")
    yield {
        "corpus": [str(tmp_path / "kettle.md")],
        "cache": str(tmp_path / "cache"),
        "model": "openai/scripted",
        "api_base": server.url,
        "api_key_env": "TESTS_API_KEY",
    }


async def test_steps_of_the_research_agents(server: ModelServer, settings: dict[str, Any]) -> None:
    judgements = [{"passage": 1, "relevance": 0.9, "quote": QUOTE, "why": "says it"}]
    sentences = [{"text": "It switches itself off.", "citations": [1]}]
    server.script = [
        Reply(fields(reasoning="r", directions=["kettle"])),
        Reply(fields(reasoning="r", judgements=judgements, follow_ups=[])),
        Reply(fields(reasoning="r", sentences=sentences)),
    ]
    research = Research(QUESTION, settings)
    plan = FakeContext("plan", QUESTION, settings, QUESTION, board=research.board)
    await run_agent(BY_NAME["plan"], plan)
    explore = FakeContext("explore", QUESTION, settings, "kettle boils dry", board=research.board)
    await run_agent(BY_NAME["explore"], explore)
    passages = [one for one in research.board.artifacts if one.type == "passage"]
    verify = FakeContext("verify", QUESTION, settings, inputs=passages, board=research.board)
    await run_agent(BY_NAME["verify"], verify)
    report = FakeContext("report", QUESTION, settings, board=research.board)
    await discover(BY_NAME["report"], report)
    assert {context.agent: context.paths for context in (plan, explore, verify, report)} == {
        "plan": ["model/plan"],
        "explore": ["judge", "model/read", "novelty"],
        "verify": ["known"],
        "report": ["model/write"],
    }


async def test_steps_of_dspy_programs(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    nested = await attempt(Twice(), {"question": "q"}, lm)
    assert [step.path for step in nested.steps] == ["program", "program"]
    crowd = await attempt(Crowd(count=2), {"question": "q"}, lm)
    assert sorted(step.path for step in crowd.steps) == [
        "Predict-2353094f/program",
        "Predict-e9ea9ad4/program",
    ]


async def test_steps_effects_and_waits_of_an_agents_own() -> None:
    @agent("own")
    async def own(context: Context) -> Discovery:
        async def call(_key: str = "") -> str:
            return "done"

        await context.step("price", "of a kettle", call)
        with context.branch("left"):
            await context.effect("order", "a kettle", call, kind="keyed")
        async with anyio.create_task_group() as waits:
            waits.start_soon(context.ask, "other", "what?")
            waits.start_soon(context.ask_human, "well?")
            waits.start_soon(context.wait_signal, "go")
            waits.start_soon(context.sleep, 60)
        return Discovery()

    async with rig(own) as swarm:
        await swarm.leader.dispatch("own")
        discovery = await swarm.discovery()
        steps = [step for record in swarm.leader.records for step in record.steps]
    assert [f"{step.kind} {step.path}" for step in steps] == [
        "pure price",
        "intent left/order",
        "effect left/order",
    ]
    assert sorted(wait.path for wait in discovery.waits) == ["ask/other", "human", "signal/go", "sleep"]


def test_an_effects_key_follows_from_run_task_path_and_ordinal_alone() -> None:
    assert derive("effect", "run", "task", "dspy/asking/order", "0") == "effect-d3d4997d8e8e4f4c8a4a82d3"
