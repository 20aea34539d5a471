"""An agent whose every visit records a step and posts an artifact, for measuring what a long run keeps."""

from pydantic import BaseModel

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact


@artifact("reading")
class Reading(BaseModel, frozen=True):
    visit: int


@agent("iterations", publishes=[Reading])
async def iterations(context: Context) -> Discovery:
    async def read() -> int:
        return context.visit

    visit = await context.step("read", {"visit": context.visit}, read)
    return Discovery(artifacts=[Posting(Reading.model_validate({"visit": visit}))], reward=0.5)
