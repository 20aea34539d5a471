"""`coordinator limits`: what is in use of the limits of agents and models, and what waits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from coordinator import stores
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.quotas import QuotaRecord, overview
from coordinator.settings import Settings
from protocol.limits import Quota
from protocol.running import run_async


@click.command("limits", cls=Verb)
@pass_invocation
def command(invocation: Invocation) -> None:
    """Show what is in use of the limits of agents and models that the whole swarm shares, and what waits.

    They stand under [limits.agents] and [limits.models] of a settings file, where coordinators start.
    """
    run_async(_show, invocation, prepare(invocation).settings)


async def _show(invocation: Invocation, settings: Settings) -> None:
    async with stores.store(settings) as store:
        quotas = overview(await QuotaRecord(store).read(), settings.limits)
    if invocation.json:
        emit_json([as_json(one) for one in quotas])
    elif not quotas:
        message("nothing is limited: see [limits.agents] and [limits.models] in the settings")
    else:
        columns = ("limit", "of", "at once", "per minute", "tokens", "in use", "waiting", "by run")
        emit_table(columns, [_row(one) for one in quotas])


def as_json(quota: Quota) -> Mapping[str, Any]:
    """A limit as the verb and HTTP show it; `holders` are workers, of agents the runs' leaders."""
    return {
        "kind": quota.kind,
        "name": quota.name,
        "concurrent": quota.concurrent,
        "per_minute": quota.per_minute,
        "tokens_per_minute": quota.tokens_per_minute,
        "tokens_per_call": quota.tokens_per_call,
        "in_use": quota.in_use,
        "waiting": quota.waiting,
        "holders": [
            {
                "run": one.run,
                quota.kind: one.subject,
                "worker": one.holder or None,
                "in_use": one.in_use,
                "waiting": one.wants,
            }
            for one in quota.portions
        ],
    }


def _row(quota: Quota) -> Sequence[object]:
    runs: Counter[str] = Counter()
    for one in quota.portions:
        runs[one.run] += one.in_use
    shares = ", ".join(f"{run}: {count}" for run, count in sorted(runs.items()))
    rate = "" if quota.per_minute is None else f"{quota.per_minute:g}"
    tokens = "" if quota.tokens_per_minute is None else f"{quota.tokens_per_minute:,.0f}"
    used = quota.in_use, quota.waiting, shares
    return quota.name, quota.kind, quota.concurrent or "", rate, tokens, *used
