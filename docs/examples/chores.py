"""An agent whose topic says what becomes of it: `sleep`, `break`, or anything else."""

from pathlib import Path

import anyio

from agents.agent import Context, Discovery, agent


@agent("chore")
async def chore(context: Context) -> Discovery:
    if context.topic == "sleep":
        await anyio.sleep(600)
    if context.topic == "break" and not mended():
        raise RuntimeError("the shelf is broken")
    return Discovery(reward=0.5)


def mended() -> bool:
    return Path("mended").exists()
