"""A run's instructions take the place of a module's own."""

import dspy
import pytest
from pydantic import BaseModel, JsonValue

from agents.agent import Context, Discovery, agent
from agents.dspy_agent import dspy_agent
from protocol.artifacts import artifact
from protocol.messages import SwarmDiscovery
from tests.support.model_server import ModelServer, Reply, fields
from tests.worker.rig import rig

pytestmark = pytest.mark.anyio


@artifact("prompted")
class Prompted(BaseModel, frozen=True):
    answer: str


PREDICT = dspy_agent("speak", dspy.Predict(dspy.Signature("topic -> answer", "Speak.")), publishes=Prompted)
REACT = dspy_agent("act", dspy.ReAct("topic -> answer", tools=[]), publishes=Prompted)


@agent("plain")
async def plain(context: Context) -> Discovery:
    return Discovery(reward=1.0)


async def ran(which, server: ModelServer, instructions: JsonValue) -> SwarmDiscovery:
    server.otherwise = lambda prompt: Reply(fields(answer="so"))
    settings = {"model": "openai/scripted", "api_base": server.url, "api_key_env": "PROMPTS_API_KEY"}
    async with rig(which) as swarm:
        await swarm.leader.dispatch(which.name, settings={**settings, "instructions": instructions})
        return await swarm.discovery()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTS_API_KEY", "k")


@pytest.mark.parametrize("name", ["speak", "speak.self"])
async def test_a_module_is_asked_with_the_runs_instructions(name: str, server: ModelServer) -> None:
    discovery = await ran(PREDICT, server, {name: "{instructions} In verse.", "other": "Be silent."})
    assert discovery.outcome == "done", discovery.failure
    (request,) = server.requests
    assert "Speak. In verse." in request["messages"][0]["content"]
    assert "silent" not in str(request)


async def test_another_run_is_asked_with_the_modules_own_again(server: ModelServer) -> None:
    await ran(PREDICT, server, {"speak": "Sing."})
    await ran(PREDICT, server, {})
    first, second = (request["messages"][0]["content"] for request in server.requests)
    assert ("Sing." in first, "Sing." in second, "Speak." in second) == (True, False, True)


@pytest.mark.parametrize(
    ("which", "instructions", "words"),
    [
        (REACT, {"act": "x"}, "no predictor act.; there are act.react, act.extract.predict"),
        (PREDICT, {"speak.hand": "x"}, "no predictor speak.hand; there are speak.self"),
        (PREDICT, {"speak": 3}, "setting instructions.speak: is no text"),
        (PREDICT, "x", "setting instructions: is no object of texts by agent"),
        (plain, {"plain": "x"}, "agent 'plain' is no DSPy module and takes none"),
    ],
)
async def test_instructions_that_nobody_would_read_fail_the_task(
    which, instructions: JsonValue, words: str, server: ModelServer
) -> None:
    discovery = await ran(which, server, instructions)
    assert discovery.failure is not None
    assert (discovery.outcome, discovery.failure.kind) == ("failed", "user")
    assert words in discovery.failure.message
    assert server.requests == []


async def test_instructions_for_others_are_no_matter_of_a_plain_agent(server: ModelServer) -> None:
    assert (await ran(plain, server, {"speak": "Sing."})).outcome == "done"
