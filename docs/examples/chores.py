"""An agent whose topic says what becomes of it: `sleep`, `break`, or a model call that takes no time."""

from pathlib import Path

import anyio

from agents.agent import Context, Discovery, agent
from protocol.messages import Usage


@agent("chore")
async def chore(context: Context) -> Discovery:
    if context.topic == "sleep":
        await anyio.sleep(600)
    if context.topic == "break" and not mended():
        raise RuntimeError("the shelf is broken")
    return Discovery(reward=0.5, usage=Usage(model_calls=1))


def mended() -> bool:
    return Path("mended").exists()
