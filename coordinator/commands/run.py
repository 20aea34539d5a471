"""`coordinator run`: the main job. A question and a corpus in, a cited report out."""

import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click
from pydantic import JsonValue

from blackboard.spec import Budget, RunSpec
from blackboard.state import Totals
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.commands.shared import prepare
from coordinator.commands.up import MODEL_KEY, swarm_here
from coordinator.invocation import Invocation, Verb, pass_invocation, run_async
from coordinator.output import emit_json, live_line, message
from coordinator.progress import Progress, money
from coordinator.records import Records
from coordinator.report import with_directions
from coordinator.research import AGENTS_MODULE, DEFAULT_TASKS, outcome, report_of, research_spec
from coordinator.settings import Settings
from coordinator.submit import submit
from protocol.errors import InvalidSettings, NotFound
from protocol.exits import Exit
from protocol.ids import uuid7


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asked for. Without a `spec`, a run that exists is continued."""

    spec: RunSpec | None
    resume: str | None
    workers: int
    output: Path | None


@click.command("run", cls=Verb)
@click.argument("question", required=False)
@click.option("--corpus", multiple=True, metavar="PATH", help="A file or folder to read; may be repeated.")
@click.option(
    "--workers", type=click.IntRange(1, 256), default=4, show_default=True, help="Worker processes."
)
@click.option(
    "--budget",
    metavar="LIMITS",
    default=f"tasks={DEFAULT_TASKS}",
    show_default=True,
    help="Limits, comma-separated: tasks=, calls=, tokens=, dollars=, seconds=.",
)
@click.option("--model", metavar="NAME", help="Reason with this model through DSPy, as provider/name.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the report goes.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Continue a run that was interrupted; by default the newest unfinished one.",
)
@pass_invocation
def command(
    invocation: Invocation,
    question: str | None,
    corpus: tuple[str, ...],
    workers: int,
    budget: str,
    model: str | None,
    output: Path | None,
    resume: str | None,
) -> Exit:
    """Ask a QUESTION of your own files, and get a report in which every statement is cited.

    Without --model everything is extractive: statements are sentences of the corpus itself. A run
    that was killed, with everything around it, goes on with --resume and repeats nothing finished.
    """
    settings = prepare(invocation).settings
    spec = None
    if resume is None:
        if question is None or not corpus:
            raise InvalidSettings(
                "run", "needs a QUESTION and --corpus PATH", "or --resume to continue a run"
            )
        spec = _spec(
            settings, question, [Path(path) for path in corpus], budget, model or settings.model.name
        )
    elif question is not None or corpus:
        raise InvalidSettings(
            "--resume", "continues a run as it was asked", "leave out QUESTION and --corpus"
        )
    return run_async(_run, invocation, Job(spec, resume, workers, output))


def _spec(settings: Settings, question: str, corpus: Sequence[Path], budget: str, model: str) -> RunSpec:
    limits, seconds = parse_budget(budget)
    now_ms = time.time_ns() // 1_000_000
    agents: dict[str, JsonValue] = {"cache": str(settings.data_folder / "indexes")}
    if model:
        agents |= {
            "model": model,
            "api_base": settings.model.api_base or None,
            "api_key_env": MODEL_KEY if settings.model.api_key.get_secret_value() else None,
        }
    return research_spec(
        uuid7(now_ms, secrets.token_bytes(10)),
        question,
        corpus,
        budget=limits,
        deadline_ms=None if seconds is None else now_ms + round(seconds * 1000),
        settings=agents,
    )


def parse_budget(text: str) -> tuple[Budget, float | None]:
    """Limits, and the seconds until the deadline. A bare number is a limit of tasks.

    :raises InvalidSettings: naming the part that is wrong.
    """
    names = {"tasks": "tasks", "calls": "model_calls", "tokens": "tokens", "dollars": "cost_microdollars"}
    limits: dict[str, int] = {}
    seconds = None
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = "tasks", part
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number < 1e15 or name not in {*names, "seconds"}:
            raise InvalidSettings(
                "--budget", f"{part!r} is no limit", "write for example tasks=32,dollars=2.50,seconds=600"
            )
        if name == "seconds":
            seconds = number
        else:
            limits[names[name]] = max(1, round(number * (1_000_000 if name == "dollars" else 1)))
    return Budget.model_validate(limits), seconds


async def _run(invocation: Invocation, job: Job) -> Exit:
    async with anyio.create_task_group() as tasks:
        interrupted: list[int] = []

        async def watch_signals() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    interrupted.append(number)
                    tasks.cancel_scope.cancel()
                    return

        tasks.start_soon(watch_signals, name="signals")
        code = await _ask(invocation, job)
        tasks.cancel_scope.cancel()
        return code
    message("interrupted; continue with: coordinator run --resume")
    return Exit.INTERRUPTED


async def _ask(invocation: Invocation, job: Job) -> Exit:
    async with (
        swarm_here(invocation, workers=job.workers, agents=(AGENTS_MODULE,)) as (settings, _),
        connections.store(settings) as store,
    ):
        records = Records(store)
        if job.spec is not None:
            await _submit(settings, store, job.spec)
        run = job.spec.run if job.spec is not None else await _unfinished(records, job.resume or "")
        await _show_progress(records, run)
        return await _conclude(invocation, settings, records, run, job.output)


async def _submit(settings: Settings, store: BlackboardStore, spec: RunSpec) -> None:
    async with connections.transport(settings, name="submit") as transport:
        limit = settings.admission.max_active_runs
        await submit(store, transport, spec, now_ms=time.time_ns() // 1_000_000, max_active=limit)


async def _unfinished(records: Records, prefix: str) -> str:
    """:raises NotFound: when there is no such run, or none that is unfinished."""
    if prefix:
        return await records.find(prefix)
    active = await records.runs(active=True)
    if not active:
        raise NotFound("unfinished run", "latest")
    return active[0].run


async def _show_progress(records: Records, run: str) -> None:
    spec = await records.spec(run)
    message(f"run {run}: {spec.goal}")
    progress = Progress(budget_tasks=spec.budget.tasks)
    with live_line() as live:
        async for logged in records.follow(run):
            for line in progress.follow(logged.event):
                live.line(line)
            live.status(progress.summary())


async def _conclude(
    invocation: Invocation, settings: Settings, records: Records, run: str, output: Path | None
) -> Exit:
    totals = await records.totals(run)
    spec = await records.spec(run)
    directions = await records.directions(run)
    found = await report_of(records, run, now_ms=time.time_ns() // 1_000_000)
    payload: dict[str, Any] | None = None
    path: Path | None = None
    if found is not None:
        payload = found[1]
        tasks = await records.tasks(run)
        path = output or settings.data_folder / "reports" / f"{run}.md"
        markdown = with_directions(str(payload["markdown"]), totals, directions, tasks)
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        await anyio.Path(path).write_text(markdown, encoding="utf-8")
        if not invocation.json:
            click.echo(markdown)
    if invocation.json:
        emit_json(
            outcome(
                totals, spec.goal, directions, payload, path=None if path is None else str(path.resolve())
            )
        )
    _summarise(totals, path)
    return Exit.OK if totals.status == "done" else Exit.RUN_FAILED


def _summarise(totals: Totals, path: Path | None) -> None:
    seconds = ((totals.ended_ms or totals.created_ms) - totals.created_ms) / 1000
    ends = ", ".join(f"{count} {status}" for status, count in sorted(totals.tasks.items())) or "none"
    usage = totals.usage
    message(f"{totals.status} after {seconds:.1f} s: {totals.reason}")
    message(f"tasks: {ends}; artifacts: {totals.artifacts} (coordinator artifacts {totals.run})")
    message(
        f"model calls: {usage.model_calls}; tokens: {usage.tokens_in:,} in, {usage.tokens_out:,} out; "
        f"cost: {money(usage.cost_microdollars)}"
    )
    if path is not None:
        message(f"report: {path}")
