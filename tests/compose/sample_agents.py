"""An agent that finds a little, opens directions and says what it has cost."""

import random

import anyio

from agents.agent import Context, Discovery, agent
from protocol.messages import FollowUp, Usage


@agent("explore")
async def explore(context: Context) -> Discovery:
    await anyio.sleep(0.05)
    draw = random.Random(context.task).random()
    follow_ups = [FollowUp(agent="explore", topic=f"{context.topic}.{context.visit}")] if draw < 0.3 else []
    context.gauge("judge_trust", 0.25)
    context.gauge("judge_problems", 0)
    usage = Usage(model_calls=1, tool_calls=1, tokens_in=100, tokens_out=20, cost_microdollars=300)
    return Discovery(reward=draw, follow_ups=follow_ups, usage=usage)
