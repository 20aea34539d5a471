"""Four agents that run in four ways."""

import hashlib
from datetime import timedelta
from pathlib import Path

import anyio
from pydantic import BaseModel

from agents.agent import AgentFailure, Context, Discovery, agent
from protocol.artifacts import artifact


@artifact("note")
class Note(BaseModel, frozen=True):
    text: str


@agent("wait", publishes=[Note], timeout=timedelta(seconds=30))
async def wait(context: Context) -> Discovery:
    """Waits for the network, a model, a clock: many at a time in one loop."""
    await anyio.sleep(0.01)
    return Discovery([Note(text=f"waited for {context.topic}")], reward=1.0)


@agent("read", publishes=[Note], runs_in="thread")
def read(context: Context) -> Discovery:
    """Blocks, so it runs in a thread."""
    try:
        text = Path(context.topic).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AgentFailure("user", f"there is no file {context.topic}") from error
    return Discovery([Note(text=text.splitlines()[0])], reward=1.0)


@agent("dig", publishes=[Note], runs_in="process")
def dig(context: Context) -> Discovery:
    """Keeps the interpreter busy, so it runs in a process."""
    digest = hashlib.sha256(context.topic.encode())
    for _ in range(10_000):
        digest = hashlib.sha256(digest.digest())
    return Discovery([Note(text=digest.hexdigest())], reward=1.0)


class Greeter:
    """A class, where an agent has something to keep. One object serves all tasks of a worker."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def __call__(self, context: Context) -> Discovery:
        return Discovery([Note(text=f"{self.greeting} {context.topic}")], reward=1.0)


greet = agent("greet", publishes=[Note])(Greeter("Hello"))
