"""An agent that finds another page behind every page, for measuring what pages that wait cost."""

from agents.agent import Context, Discovery, agent
from protocol.messages import FollowUp

AGENT = "crawler"
RATINGS = 1_000


def page(name: str, number: int) -> FollowUp:
    """A direction for one visit, with a rating that many others have, too."""
    return FollowUp(agent=AGENT, topic=name, prior=number * 7_919 % RATINGS / RATINGS, max_visits=1)


@agent(AGENT)
async def crawler(context: Context) -> Discovery:
    number = int(context.direction[-6:], 16)
    return Discovery(follow_ups=[page(f"behind {context.direction}", number)], reward=number % 11 / 10)
