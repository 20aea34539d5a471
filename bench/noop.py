"""An agent that does nothing, for measuring all the rest."""

from agents.agent import Context, Discovery, agent


@agent("noop")
async def noop(_context: Context) -> Discovery:
    return Discovery(reward=0.5)
