"""`coordinator run`: the main job. A question and a corpus in, a cited report out."""

import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from blackboard.events import Choice
from blackboard.spec import RunSpec
from blackboard.state import TaskRow, Totals
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.commands.asking import Question, question_options, spec_of
from coordinator.commands.shared import counted, now_ms, prepare, show_progress
from coordinator.commands.up import swarm_here
from coordinator.commands.wording import in_words
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.pricing import table_of, unpriced
from coordinator.progress import money
from coordinator.records import LATEST, Records
from coordinator.report import with_directions
from coordinator.research import AGENTS_MODULE, outcome, report_of
from coordinator.settings import Settings
from coordinator.submit import submit
from protocol.errors import InvalidSettings, NotFound
from protocol.exits import Exit
from protocol.running import run_async


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asked for. Without a `spec`, a run that exists is continued."""

    spec: RunSpec | None
    resume: str
    workers: int
    output: Path | None


@click.command("run", cls=Verb)
@question_options
@click.option(
    "--workers", type=click.IntRange(1, 256), default=4, show_default=True, help="Worker processes."
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the report goes.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=LATEST,
    metavar="[RUN]",
    help="Continue a run that was interrupted; by default the newest unfinished one.",
)
@pass_invocation
def command(
    invocation: Invocation,
    workers: int,
    output: Path | None,
    resume: str | None,
    **question: Any,  # noqa: ANN401 - as click gives them
) -> Exit:
    """Ask a QUESTION of your own files, and get a report in which every statement is cited.

    Without --model everything is extractive: statements are sentences of the corpus itself. A run
    that was killed, with everything around it, goes on with --resume and repeats nothing finished.
    """
    loaded = prepare(invocation)
    asked = Question.taken_from(question)
    if resume is not None and asked.given:
        raise InvalidSettings(
            "--resume",
            "continues a run as it was asked",
            "leave out QUESTION, --corpus, --budget and --model",
        )
    spec = spec_of(loaded, asked) if resume is None else None
    if spec is not None and (warning := unpriced(spec, table_of(loaded))):
        message(f"warning: {warning}")
    if output is not None:
        check_writable(output)
    return run_async(_run, invocation, Job(spec, resume or LATEST, workers, output))


def check_writable(path: Path) -> None:
    """Before anything is spent on a report that could not be kept.

    :raises InvalidSettings: when the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InvalidSettings(
            "--output", f"{path} cannot be written: {error.strerror}", "name another file"
        ) from error


async def _run(invocation: Invocation, job: Job) -> Exit:
    """A signal ends the asking, and the swarm in good order; while that starts, it ends the start."""
    code: Exit | None = None
    async with anyio.create_task_group() as tasks:
        scopes = [tasks.cancel_scope]

        async def watch_signals() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    message("stopping: workers finish what they hold")
                    scopes[-1].cancel()
                    return

        tasks.start_soon(watch_signals, name="signals")
        async with swarm_here(invocation, workers=job.workers, agents=(AGENTS_MODULE,), any_port=True) as (
            settings,
            _,
        ):
            with anyio.CancelScope() as asking:
                scopes.append(asking)
                code = await _ask(invocation, settings, job)
        tasks.cancel_scope.cancel()
    if code is not None:
        return code
    data = invocation.flags.get("data.folder")
    folder = f" --data {data}" if data else ""
    message(f"interrupted; continue with: coordinator run --resume{folder}")
    return Exit.INTERRUPTED


async def _ask(invocation: Invocation, settings: Settings, job: Job) -> Exit:
    async with connections.store(settings) as store:
        records = Records(store)
        if job.spec is not None:
            await _submit(settings, store, job.spec)
        run = job.spec.run if job.spec is not None else await _unfinished(records, job.resume)
        await _mention_others(records, run)
        await show_progress(records, run)
        return await _conclude(invocation, settings, records, run, job.output)


async def _submit(settings: Settings, store: BlackboardStore, spec: RunSpec) -> None:
    async with connections.transport(settings, name="submit") as transport:
        limit = settings.admission.max_active_runs
        await submit(store, transport, spec, now_ms=now_ms(), max_active=limit)


async def _unfinished(records: Records, prefix: str) -> str:
    """:raises NotFound: when there is no such run, or none that is unfinished."""
    if prefix != LATEST:
        return await records.find(prefix)
    active = await records.runs(active=True)
    if not active:
        raise NotFound("unfinished run; begin one with: coordinator run QUESTION --corpus PATH")
    return active[0].spec.run


async def _mention_others(records: Records, run: str) -> None:
    """Workers are shared: unfinished runs of the same servers go on as well, and may cost something."""
    for other in await records.runs(active=True):
        if other.spec.run != run:
            message(
                f"beside it goes on run {other.spec.run}: {other.spec.goal[:80]} "
                f"(end it with: coordinator cancel {other.spec.run})"
            )


async def _conclude(
    invocation: Invocation, settings: Settings, records: Records, run: str, output: Path | None
) -> Exit:
    record = await records.run(run)
    directions = await records.directions(run)
    found = await report_of(records, run, now_ms=now_ms())
    payload: Mapping[str, Any] | None = None
    path: Path | None = None
    if found is not None:
        payload = found[1]
        tasks = await records.tasks(run)
        why = in_words(await _last_choice(records, run, tasks), directions)
        markdown = with_directions(str(payload["markdown"]), record.totals, directions, tasks, why)
        path = await _keep(markdown, output or settings.data_folder / "reports" / f"{run}.md", run)
        if not invocation.json:
            click.echo(markdown)
    if invocation.json:
        kept = None if path is None else str(path.resolve())
        emit_json(outcome(record.totals, record.spec.goal, directions, payload, path=kept))
    for warning in payload.get("warnings", ()) if payload else ():
        message(f"warning: {warning}")
    for line in _summary(record.totals, settings.data_folder, path):
        message(line)
    if record.totals.status != "done":
        return Exit.RUN_FAILED
    return Exit.FAILED if found is not None and path is None else Exit.OK


async def _last_choice(records: Records, run: str, tasks: Sequence[TaskRow]) -> Choice | None:
    """Of the direction that was explored last."""
    explored = [task for task in tasks if task.agent == "explore"]
    last = max(explored, key=lambda task: task.began, default=None)
    return None if last is None else await records.choice(run, last.id)


async def _keep(markdown: str, path: Path, run: str) -> Path | None:
    """Writes the report; None where it could not be written, which is said."""
    try:
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        await anyio.Path(path).write_text(markdown, encoding="utf-8")
    except OSError as error:
        message(f"error: {path} cannot be written: {error.strerror}")
        message(f"hint: the report is kept: coordinator artifacts {run} --type report")
        return None
    return path


def _summary(totals: Totals, data: Path, path: Path | None) -> Sequence[str]:
    seconds = ((totals.ended_ms or totals.created_ms) - totals.created_ms) / 1000
    usage = totals.usage
    lines = [
        f"{totals.status} after {seconds:.1f} s: {totals.reason}",
        f"tasks: {counted(totals.tasks)}; artifacts: {totals.artifacts}, kept in {data}",
        f"model calls: {usage.model_calls}; tokens: {usage.tokens_in:,} in, {usage.tokens_out:,} out",
        f"cost: {money(usage.cost_microdollars)}",
        f"look closer: coordinator artifacts, tasks or frontier {totals.run}",
        f"  where no servers run: coordinator up --data {data} first",
    ]
    return lines if path is None else [*lines, f"report: {path}"]
