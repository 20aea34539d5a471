"""Agents for workers in processes of their own."""

import time
from datetime import timedelta

import anyio

from agents.agent import Context, Discovery, agent


@agent("echo")
async def echo(_context: Context) -> Discovery:
    return Discovery(reward=0.5)


@agent("nap")
async def nap(context: Context) -> Discovery:
    """Sleeps as many seconds as the topic says."""
    await anyio.sleep(float(context.topic))
    return Discovery(reward=1.0)


@agent("block")
async def block(_context: Context) -> Discovery:
    """Blocks the worker's loop, as no agent should."""
    time.sleep(3)  # noqa: ASYNC251 - that is the point
    return Discovery(reward=1.0)


@agent("stuck", runs_in="thread", timeout=timedelta(seconds=0.2))
def stuck(_context: Context) -> Discovery:
    time.sleep(600)
    return Discovery()


@agent("count", runs_in="process")
def count(_context: Context) -> Discovery:
    return Discovery(reward=sum(range(6)) / 60)
