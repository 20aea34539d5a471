"""An agent that has its text reviewed by another agent, approved by a person, and released by a signal."""

from datetime import timedelta

from pydantic import BaseModel, JsonValue

from agents.agent import Context, Discovery, WaitTimedOut, agent
from protocol.artifacts import artifact


@artifact("release")
class Release(BaseModel, frozen=True):
    text: str
    review: JsonValue
    window: JsonValue


@artifact("review")
class Review(BaseModel, frozen=True):
    remark: str


@agent("write", publishes=[Release])
async def write(context: Context) -> Discovery:
    text = await context.step("draft", {"about": context.topic}, lambda: draft(context.topic))
    review = await context.ask("review", f"Is this clear? {text}")
    try:
        verdict = await context.ask_human(
            "Publish the release?", choices=("yes", "no"), approves=text, timeout=timedelta(days=3)
        )
    except WaitTimedOut:
        verdict = "no"
    if verdict == "no":
        return Discovery(reward=0.0)
    window = await context.wait_signal("window")
    await context.sleep(1)
    return Discovery([Release(text=str(text), review=review, window=window)], reward=1.0)


@agent("review", publishes=[Review])
async def review(context: Context) -> Discovery:
    return Discovery([Review(remark=f"{len(context.topic.split())} words, and clear")], reward=1.0)


async def draft(about: str) -> JsonValue:
    """Stands for a model's call."""
    return f"All about {about}"
