"""An agent that pays for a call once, however often it is run."""

from kinds import Note
from pydantic import JsonValue

from agents.agent import Context, Discovery, agent
from protocol.messages import Usage


async def ask_somebody(question: str) -> JsonValue:
    """Stands for a model, a search, anything that costs."""
    return f"the answer to {question}"


@agent("paid", publishes=[Note])
async def paid(context: Context) -> Discovery:
    usage = Usage(model_calls=1, tokens_in=12, tokens_out=30, cost_microdollars=40)
    answer = await context.step(
        "answer",
        {"question": context.topic},
        lambda: ask_somebody(context.topic),
        usage=usage,
    )
    return Discovery([Note(text=str(answer))], reward=0.5)
