"""Agents whose model calls and effects outsiders count: by a model's server, and in a file."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import dspy

from agents.agent import Context, Discovery, agent
from agents.dspy_model import language_model, run
from agents.effects import idempotency_key, tool
from agents.model_settings import ModelSettings
from protocol.artifacts import artifact
from protocol.messages import Record
from tests.crash.agents_for_crashes import note
from tests.crash.labels import label


@artifact("conclusion")
class Conclusion(Record):
    answer: str


def write(line: str) -> None:
    """One line, one write: survives a kill right after it."""
    file = os.open(Path(os.environ["CRASH_LOG"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


@tool("keyed")
def keyed_tool(number: int) -> str:
    """Does something that its target knows by its key."""
    label("keyed.before")
    write(f"keyed {idempotency_key()}")
    label("keyed.after")
    return f"did {number}"


@tool("unsafe")
def unsafe_tool(number: int) -> str:
    """Does something that nobody can ask about."""
    label("unsafe.before")
    write(f"unsafe {idempotency_key()}")
    label("unsafe.after")
    return f"did {number}"


@agent("reason", publishes=[Conclusion])
async def reason(context: Context) -> Discovery:
    """A ReAct program that goes on for as long as its model tells it to."""
    module = dspy.ReAct("question -> answer", tools=[keyed_tool, unsafe_tool], max_iters=200)
    settings = ModelSettings.of(context.settings)
    assert settings is not None
    prediction = await run(context, "reason", module, {"question": context.topic}, language_model(settings))
    return Discovery([Conclusion(answer=prediction.answer)], reward=1.0)


class Panel(dspy.Module):
    """Draws eight samples and takes the best, then asks eight members at once; dies where they come together,
    with `deadly`.
    """

    def __init__(self, *, deadly: bool) -> None:
        super().__init__()
        self.sample = dspy.BestOfN(dspy.Predict("question -> answer"), N=8, reward_fn=longest, threshold=99.0)
        self.member = dspy.Predict("question -> answer")
        self.deadly = deadly

    def forward(self, question: str) -> dspy.Prediction:
        best = self.sample(question=f"sample of {question}").answer
        parallel = dspy.Parallel(
            num_threads=8, max_errors=100, disable_progress_bar=True, return_failed_examples=True
        )
        pairs = [(self.member, {"question": f"member {number} of {question}"}) for number in range(8)]
        found, _, failed = parallel(pairs)
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if failed:
            raise failed[0]
        return dspy.Prediction(answer=" ".join([best, *(one.answer for one in found)]))


def longest(_inputs: dict[str, Any], prediction: dspy.Prediction) -> float:
    return float(len(prediction.answer))


@agent("confer", publishes=[Conclusion])
async def confer(context: Context) -> Discovery:
    settings = ModelSettings.of(context.settings)
    assert settings is not None
    module = Panel(deadly=context.attempt == 1)
    prediction = await run(context, "confer", module, {"question": context.topic}, language_model(settings))
    return Discovery([Conclusion(answer=prediction.answer)], reward=1.0)


@agent("hesitate", publishes=[Conclusion])
async def hesitate(context: Context) -> Discovery:
    """Waits for a sign, and then does something that must not be done twice."""

    async def send(_key: str) -> str:
        note("sent", context)
        return "sent"

    note("ready", context)
    try:
        while not Path(os.environ["CRASH_LOG"]).with_name("go").exists():
            await anyio.sleep(0.05)
        await context.effect("mail", context.topic, send)
    finally:
        note("over", context)
    return Discovery([Conclusion(answer="sent")], reward=1.0)
