"""An agent whose every visit records a reply and posts an artifact, for measuring what a long run keeps."""

import secrets

from pydantic import BaseModel

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact

REPLY_BYTES = 2_000


@artifact("reading")
class Reading(BaseModel, frozen=True):
    visit: int
    said: str


@agent("iterations", publishes=[Reading])
async def iterations(context: Context) -> Discovery:
    async def reply() -> str:
        return secrets.token_hex(REPLY_BYTES // 2)

    said = str(await context.step("read", {"visit": context.visit}, reply))
    return Discovery(artifacts=[Posting(Reading(visit=context.visit, said=said[:20]))], reward=0.5)
