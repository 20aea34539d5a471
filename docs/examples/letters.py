"""Agents that send letters, and lose the power just after the first one has left."""

import os
import signal
from pathlib import Path

from pydantic import BaseModel, JsonValue

from agents.agent import Context, Discovery, Happened, agent
from protocol.artifacts import artifact

POST = Path("letters.txt")


@artifact("sent")
class Sent(BaseModel, frozen=True):
    receipt: JsonValue


@artifact("filed")
class Filed(BaseModel, frozen=True):
    line: str


@agent("keyed_mail", publishes=[Sent])
async def keyed_mail(context: Context) -> Discovery:
    """By a post office that knows letters by their key: the same one twice is one letter."""

    async def send(key: str) -> JsonValue:
        return post(context, key, once=True)

    return sent(await context.effect("mail", context.topic, send, kind="keyed"))


@agent("tracked_mail", publishes=[Sent])
async def tracked_mail(context: Context) -> Discovery:
    """By one that can be asked whether a letter has arrived."""

    async def send(key: str) -> JsonValue:
        return post(context, key)

    async def track(key: str) -> Happened | None:
        return Happened(f"found {key}") if arrived(key) else None

    return sent(await context.effect("mail", context.topic, send, kind="reconcilable", reconcile=track))


@agent("plain_mail", publishes=[Sent])
async def plain_mail(context: Context) -> Discovery:
    """By one that knows nothing: only a person can look whether the letter has arrived."""

    async def send(key: str) -> JsonValue:
        return post(context, key)

    return sent(await context.effect("mail", context.topic, send))


@agent("clerk", publishes=[Filed])
async def clerk(context: Context) -> Discovery:
    """Files what was sent."""
    receipts = [context.load(one, Sent).receipt for one in context.inputs]
    return Discovery([Filed(line=f"filed: {receipt}") for receipt in receipts], reward=1.0)


def post(context: Context, key: str, *, once: bool = False) -> JsonValue:
    """Sends a letter. In the first attempt the worker dies before it can say so."""
    if not (once and arrived(key)):
        with POST.open("a") as letters:
            letters.write(f"{context.agent} {key} {context.topic}\n")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"posted {key}"


def arrived(key: str) -> bool:
    return POST.exists() and key in POST.read_text()


def sent(receipt: JsonValue) -> Discovery:
    return Discovery([Sent(receipt=receipt)], reward=1.0)
