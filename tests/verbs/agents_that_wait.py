"""Agents that wait for people, for signals and for each other."""

from datetime import timedelta

from pydantic import BaseModel

from agents.agent import Context, Discovery, agent
from protocol.artifacts import artifact


@artifact("verdict")
class Verdict(BaseModel, frozen=True):
    said: str


@agent("clerk", publishes=[Verdict])
async def clerk(context: Context) -> Discovery:
    """Has a plan approved, asks the archive, and waits for the gate."""
    plan = {"topic": context.topic}
    said = await context.ask_human("go on?", choices=("yes", "no"), approves=plan, timeout=timedelta(days=1))
    found = await context.ask("archive", "what do we know?")
    opened = await context.wait_signal("gate")
    return Discovery([Verdict(said=f"{said}, {found}, {opened}")], reward=1.0, exhausted=True)


@agent("archive", publishes=[Verdict])
async def archive(context: Context) -> Discovery:
    return Discovery([Verdict(said=f"{context.topic} nothing")], reward=1.0)
