"""`coordinator show`: all about one run."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import click

from blackboard.budgets import Account, limits_of, minus
from blackboard.spec import Budget
from blackboard.state import DirectionRow, TaskRow, Totals
from coordinator.commands.shared import ago, counted, lasting, now_ms, plain, prepare, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json
from coordinator.progress import money
from coordinator.records import LATEST, Records, RunRecord, states
from protocol.messages import NO_USAGE, Usage
from protocol.running import run_async

FIELDS = ("model_calls", "tool_calls", "tokens", "cost_microdollars")


@click.command("show", cls=Verb)
@click.argument("run", default=LATEST)
@pass_invocation
def command(invocation: Invocation, run: str) -> None:
    """Show a run: its state, what it spent, what it found.

    RUN is an id, the beginning of one, or `latest`.
    """
    run_async(_show, invocation, run)


async def _show(invocation: Invocation, prefix: str) -> None:
    reports = prepare(invocation).settings.data_folder / "reports"
    async with stored(invocation) as records:
        run = await records.find(prefix)
        record = await records.run(run)
        shown = await described(records, run)
    report = reports / f"{run}.md"
    shown["report"] = str(report) if report.exists() else None
    if invocation.json:
        emit_json(shown)
        return
    for name, text in _lines(record, shown):
        click.echo(f"{name + ':':<12} {text}")


async def described(records: Records, run: str) -> dict[str, Any]:
    """All about one run, as JSON."""
    inquiries = await records.inquiries(run)
    asked = {"total": len(inquiries), "open": sum(row.open for row in inquiries)}
    tasks = await records.tasks(run)
    return {
        **_as_json(await records.run(run), tasks, await records.directions(run)),
        "unknown_effects": sum(task.unknown for task in tasks),
        "divergences": sum(task.divergences for task in tasks),
        "inquiries": asked,
    }


def _as_json(
    record: RunRecord, tasks: Sequence[TaskRow], directions: Mapping[str, DirectionRow]
) -> dict[str, Any]:
    totals = record.totals
    by_agent: dict[str, list[TaskRow]] = defaultdict(list)
    for task in tasks:
        by_agent[task.agent].append(task)
    return {
        "run": totals.run,
        "status": totals.status,
        "reason": totals.reason,
        "paused": totals.paused,
        "goal": record.spec.goal,
        "created_ms": totals.created_ms,
        "ended_ms": totals.ended_ms,
        "seconds": ((totals.ended_ms or now_ms()) - totals.created_ms) / 1000,
        "budget": _budget(record),
        "usage": plain(totals.usage),
        "shared": plain(totals.shared),
        "tasks": states(tasks),
        "agents": {agent: states(rows) for agent, rows in by_agent.items()},
        "usage_by_agent": {agent: plain(_spent(rows)) for agent, rows in by_agent.items()},
        "directions": {
            "total": len(directions),
            "open": sum(row.open for row in directions.values()),
            "visited": sum(row.visits > 0 for row in directions.values()),
        },
        "artifacts": {"total": totals.artifacts, "types": totals.types},
        "refused_results": totals.refused,
        "leader": totals.leader or None,
        "takeovers": _takeovers(totals),
        "lost_events": totals.lost_events,
        "spec": plain(record.spec),
    }


def _spent(tasks: Sequence[TaskRow]) -> Usage:
    return reduce(Usage.plus, (task.usage for task in tasks), NO_USAGE)


def _budget(record: RunRecord) -> Mapping[str, Any]:
    """What was spent of each limit; None is no limit. `agents` has those that have a budget of their own."""
    totals, spec = record.totals, record.spec
    usage = totals.usage
    spent = (usage.model_calls, usage.tool_calls, usage.tokens_in + usage.tokens_out, usage.cost_microdollars)
    accounts = totals.accounts
    own = {
        agent.name: {
            "tasks": {"spent": account.begun, "limit": agent.budget.tasks},
            **dict(_metered(agent.budget, minus(account.spent, account.doubtful), [account])),
            "wall_seconds": agent.budget.wall_seconds,
        }
        for agent in spec.agents
        if agent.budget is not None
        for account in (accounts.get(agent.name, Account()),)
    }
    return {
        "tasks": {"spent": totals.explored, "limit": spec.budget.tasks},
        **dict(_metered(spec.budget, spent, list(accounts.values()))),
        "wall_seconds": spec.budget.wall_seconds,
        "deadline_ms": spec.deadline_ms,
        "agents": own,
    }


def _metered(
    budget: Budget, spent: Sequence[int | None], accounts: Sequence[Account]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Per resource: what is known to be used, what more may have been used, and what is reserved."""
    doubtful = [sum(account.doubtful[at] for account in accounts) for at in range(len(FIELDS))]
    reserved = [sum(account.reserved[at] for account in accounts) for at in range(len(FIELDS))]
    for name, used, kept, held, limit in zip(
        FIELDS, spent, doubtful, reserved, limits_of(budget), strict=True
    ):
        yield name, {"spent": used, "doubtful": kept, "reserved": held, "limit": limit}


def _lines(record: RunRecord, shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    totals, usage = record.totals, record.totals.usage
    yield "run", totals.run
    yield "goal", " ".join(record.spec.goal.split())
    yield "status", totals.status + (f": {totals.reason}" if totals.reason else "")
    if totals.paused is not None:
        yield "paused", f"{totals.paused}: coordinator resume {totals.run}"
    yield "began", f"{ago(totals.created_ms)} ago; {_took(totals.ended, shown['seconds'])}"
    yield "budget", "; ".join(_limits(shown["budget"])) or "no limits"
    yield "tasks", counted(shown["tasks"])
    for agent, by_state in shown["agents"].items():
        yield f"  {agent}", counted(by_state)
    directions = shown["directions"]
    yield (
        "directions",
        f"{directions['total']:,}, of which {directions['visited']:,} visited, {directions['open']:,} open",
    )
    if shown["inquiries"]["open"]:
        yield "waits for", f"{shown['inquiries']['open']:,} answers: coordinator inquiries {totals.run}"
    if shown["unknown_effects"]:
        yield "unknown", f"{shown['unknown_effects']:,} effects: coordinator unknowns {totals.run}"
    if shown["divergences"]:
        yield "diverged", f"{shown['divergences']:,} times: coordinator tasks {totals.run}"
    yield "artifacts", f"{totals.artifacts:,}: {counted(totals.types)}"
    tokens = f"{usage.tokens_in:,} tokens in ({usage.tokens_cached:,} cached), {usage.tokens_out:,} out"
    yield "usage", f"{usage.model_calls:,} model calls, {usage.tool_calls:,} tool calls; {tokens}"
    yield "cost", money(usage.cost_microdollars)
    yield from _origin(record)
    yield "leader", f"{totals.leader or 'none yet'}; {_takeovers(totals)} takeovers"
    if totals.refused:
        yield "refused", f"{totals.refused:,} late results"
    if totals.lost_events:
        yield "lost", f"{totals.lost_events:,} events that the store came back without"
    if shown["report"]:
        yield "report", shown["report"]
    elif totals.types.get("report"):
        yield "report", f"coordinator artifacts {totals.run} --type report"


def _origin(record: RunRecord) -> Iterator[tuple[str, str]]:
    origin = record.spec.origin
    if origin is not None:
        calls = record.totals.shared.model_calls
        yield (
            "shares",
            f"{calls:,} model calls with run {origin.run}, which has paid for them ({origin.verb})",
        )


def _takeovers(totals: Totals) -> int:
    """The first to lead takes nothing over."""
    return max(0, totals.takeovers - 1)


def _took(ended: bool, seconds: float) -> str:
    return f"{'took' if ended else 'running for'} {lasting(seconds)}"


def _limits(budget: Mapping[str, Any]) -> Iterator[str]:
    for name, part in budget.items():
        if name != "agents" and isinstance(part, Mapping) and part["limit"] is not None:
            yield f"{part['spent'] if part['spent'] is not None else 'unknown'} of {part['limit']:,} {name}"
    if budget["deadline_ms"] is not None:
        left = (budget["deadline_ms"] - now_ms()) / 1000
        yield f"deadline in {lasting(left)}" if left > 0 else "the deadline has passed"
