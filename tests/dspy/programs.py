"""Programs as their authors write them, who know nothing of a journal; and tasks that run them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import dspy
from pydantic import JsonValue

from agents.agent import Context, Discovery, agent
from agents.dspy_model import run
from agents.observations import StepReplayed
from protocol.messages import Step, SwarmDiscovery
from tests.support.model_server import ModelServer, Reply, fields
from tests.worker.rig import rig


@dataclass
class Attempt:
    """What one attempt of a task came to."""

    discovery: SwarmDiscovery
    steps: list[Step]
    """What it recorded."""
    replayed: list[StepReplayed]
    outputs: dict[str, Any] = field(default_factory=dict)


async def attempt(
    module: dspy.Module,
    inputs: dict[str, Any],
    lm: dspy.BaseLM | None,
    journal: list[Step] = [],  # noqa: B006 - only read
    settings: dict[str, JsonValue] = {},  # noqa: B006 - only read
    within: Callable[[], AbstractContextManager[object]] | None = None,
    **limits: object,
) -> Attempt:
    """Runs a module as an agent, with what earlier attempts have recorded."""
    outputs: dict[str, Any] = {}

    @agent("program")
    async def program(context: Context) -> Discovery:
        prediction = await run(context, "program", module, inputs, lm)
        outputs.update(prediction.items())
        return Discovery(reward=1.0)

    async with rig(program, **limits) as swarm:
        await swarm.leader.dispatch("program", steps=journal, settings=settings)
        discovery = await swarm.discovery()
        steps = [step for record in swarm.leader.records for step in record.steps]
        return Attempt(discovery, steps, swarm.saw(StepReplayed), outputs)


class Twice(dspy.Module):
    """Asks in two steps, the second about the first's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> answer")
        self.second = dspy.ChainOfThought("answer -> verdict")

    def forward(self, question: str) -> dspy.Prediction:
        return self.second(answer=self.first(question=question).answer)


class Crowd(dspy.Module):
    """Asks eight times at once, and puts together what came back."""

    def __init__(self, *, count: int = 8, threads: int = 8) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")
        self.count = count
        self.threads = threads

    def forward(self, question: str) -> dspy.Prediction:
        pairs = [(self.ask, {"question": f"{question} {number}"}) for number in range(self.count)]
        parallel = dspy.Parallel(
            num_threads=self.threads, max_errors=100, disable_progress_bar=True, return_failed_examples=True
        )
        results, _, failed = parallel(pairs)
        answers = [result.answer for result in results if result is not None]
        if failed:
            raise failed[0]
        return dspy.Prediction(answers=answers)


class AsyncCrowd(Crowd):
    """The same, awaited in the loop: DSPy's `Parallel` itself is synchronous."""

    async def aforward(self, question: str) -> dspy.Prediction:
        return await dspy.asyncify(self.forward)(question=question)


def echo(prompt: str) -> Reply:
    """Fills every output field that a prompt asks for with something that follows from the prompt."""
    asked = prompt.rsplit("Respond with the corresponding output fields", 1)[-1]
    names = [name for name in ("reasoning", "answer", "verdict", "rationale") if f"## {name} ##" in asked]
    return Reply(fields(**{name: f"{name} of {len(prompt)}" for name in names}))


def sent(server: ModelServer) -> list[str]:
    """The newest message of each request."""
    return [request["messages"][-1]["content"] for request in server.requests]
