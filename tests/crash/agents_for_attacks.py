"""Agents that behave as badly as a careless author lets them."""

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact
from protocol.messages import FollowUp, Record

HUGE = 900_000
UNICODE = "\u0000\u202e\U0001f9e0 ʇsǝʇ \ud7ff\uffff / ../ * > . e\u0301"


@artifact("scrap")
class Scrap(Record):
    text: str = ""
    numbers: tuple[float, ...] = ()


@agent("misbehave", publishes=[Scrap])
async def misbehave(context: Context) -> Discovery:
    """What the topic asks for."""
    match context.topic:
        case "nonsense":
            return "no discovery"  # pyright: ignore[reportReturnType]
        case "not a number":
            return Discovery(reward=float("nan"))
        case "many artifacts":
            return Discovery([Scrap(text=str(n)) for n in range(2_000)], reward=0.5, exhausted=True)
        case "too many artifacts":
            return Discovery([Scrap(text=str(n)) for n in range(10_000)], reward=0.5, exhausted=True)
        case "many follow-ups":
            follow_ups = [FollowUp(agent="misbehave", topic=f"t{n}", max_visits=1) for n in range(4_000)]
            return Discovery(reward=0.1, follow_ups=follow_ups, exhausted=True)
        case "huge":
            return Discovery([Scrap(text="x" * HUGE)], reward=0.5, exhausted=True)
        case "growing numbers":
            return Discovery([Scrap(numbers=(1e9,) * 50_000)], reward=0.5, exhausted=True)
        case "system exit":
            raise SystemExit(3)
        case topic if topic == UNICODE:
            return Discovery(
                [Posting(Scrap(text=UNICODE), key=UNICODE[:9], tags=(UNICODE,), text=UNICODE)], reward=1.0
            )
        case _:
            return Discovery(reward=0.01, exhausted=True)
