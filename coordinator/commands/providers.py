"""`coordinator providers`: the circuit breakers of the providers that agents call."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from coordinator.commands.acting import operating
from coordinator.commands.shared import ago, lasting, now_ms, plain, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from protocol.providers import Breaker
from protocol.running import run_async


@click.command("providers", cls=Verb)
@click.option("--close", metavar="PROVIDER", help="Let calls of this provider through again.")
@pass_invocation
def command(invocation: Invocation, close: str | None) -> None:
    """List the providers of which failures are known, and whether their circuit breakers let calls through.

    A breaker that is open is probed by one call at a time, and closes by itself when that goes well.
    """
    run_async(_list, invocation) if close is None else run_async(_close, invocation, close)


async def _list(invocation: Invocation) -> None:
    async with stored(invocation) as records:
        breakers = await records.breakers()
    if invocation.json:
        emit_json([as_json(one) for one in breakers])
    elif not breakers:
        message("no provider has failed")
    else:
        emit_table(("provider", "breaker", "since", "next probe", "why"), [_row(one) for one in breakers])


async def _close(invocation: Invocation, provider: str) -> None:
    async with operating(invocation) as operator:
        breaker = await operator.close(provider, now_ms())
    if invocation.json:
        emit_json(as_json(breaker))
    else:
        message(f"calls of provider {provider} go through again")


def as_json(breaker: Breaker) -> Mapping[str, Any]:
    """A breaker as the verb and HTTP show it; the probe's token is nobody else's business."""
    return {name: value for name, value in plain(breaker).items() if name != "probe"}


def _row(breaker: Breaker) -> Sequence[object]:
    left = (breaker.until_ms - now_ms()) / 1000
    probe = {
        "closed": "",
        "open": f"in {lasting(left)}" if left > 0 else "at the next call",
        "half_open": "is under way",
    }
    failures = len(breaker.failed_ms)
    why = breaker.reason or (f"{failures} calls failed in a row" if failures else "")
    since = ago(breaker.changed_ms) if breaker.changed_ms else ""
    return breaker.provider, breaker.status.replace("_", " "), since, probe[breaker.status], why
