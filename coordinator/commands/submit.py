"""`coordinator submit`: a run is handed in; whoever coordinates takes it up."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import anyio
import click
from pydantic import BaseModel, ValidationError

from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import Totals
from coordinator import connections
from coordinator.commands.asking import Question, fresh_id, question_options, spec_of
from coordinator.commands.shared import now_ms, prepare, read_file, show_progress
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.pricing import table_of, unpriced
from coordinator.records import Records
from coordinator.settings import Settings
from coordinator.submit import check, submit
from protocol.errors import InvalidMessage, InvalidSettings
from protocol.exits import Exit
from protocol.messages import FollowUp
from protocol.running import run_async
from protocol.strict_json import dotted, parse_object


@click.command("submit", cls=Verb)
@question_options
@click.option("--spec", metavar="FILE", help="Any run as JSON, from a file or `-` for standard input.")
@click.option("--wait", is_flag=True, help="Wait for the run's end; exit code 6 when it failed.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait no longer: exit 5.",
)
@pass_invocation
def command(
    invocation: Invocation,
    spec: str | None,
    wait: bool,
    timeout: float | None,
    **question: Any,  # noqa: ANN401 - as click gives them
) -> Exit:
    """Hand in a run and print its id: a QUESTION of the files in --corpus, or any run as a --spec.

    The same --spec under the same id may be handed in again: the run exists once.
    """
    loaded = prepare(invocation)
    asked = Question.taken_from(question)
    if timeout is not None and not wait:
        raise InvalidSettings("--timeout", "says how long to wait", "add --wait")
    if spec is None and not asked.given:
        raise InvalidSettings("QUESTION", "is missing", "ask one of a --corpus, or hand in a --spec FILE")
    if spec is not None and asked.given:
        raise InvalidSettings(
            "--spec", "is a whole run", "leave out QUESTION, --corpus, --budget and --model"
        )
    run = read_spec(spec) if spec is not None else spec_of(loaded, asked)
    if warning := unpriced(run, table_of(loaded)):
        message(f"warning: {warning}")
    return run_async(_submit, invocation, loaded.settings, run, timeout if wait else 0.0)


async def _submit(invocation: Invocation, settings: Settings, spec: RunSpec, timeout: float | None) -> Exit:
    """`timeout` 0 means not to wait, and None without end."""
    async with connections.store(settings) as store:
        async with connections.transport(settings, name="submit") as transport:
            created = await submit(
                store, transport, spec, now_ms=now_ms(), max_active=settings.admission.max_active_runs
            )
        if not created:
            message(f"run {spec.run} was there already")
        if not invocation.json:
            click.echo(spec.run)
        if timeout == 0:
            if invocation.json:
                emit_json({"run": spec.run, "created": created})
            return Exit.OK
        records = Records(store)
        with anyio.move_on_after(timeout):
            await show_progress(records, spec.run)
        totals = await records.totals(spec.run)
    if invocation.json:
        emit_json({"run": spec.run, "created": created, "status": totals.status, "reason": totals.reason})
    return _verdict(totals)


def _verdict(totals: Totals) -> Exit:
    if not totals.ended:
        message(f"not ended in time; the run goes on: coordinator watch {totals.run}")
        return Exit.TIMED_OUT
    message(f"{totals.status}: {totals.reason}")
    return Exit.OK if totals.status == "done" else Exit.RUN_FAILED


def read_spec(source: str) -> RunSpec:
    """A run's specification; its id is made where it has none.

    :raises InvalidSettings: when the file cannot be read, or naming the field that is wrong.
    """
    try:
        spec, unknown = spec_from(read_file("--spec", source))
        check(spec)
    except InvalidMessage as error:
        where = "" if error.field == "message" else f"{error.field}: "
        name = "standard input" if source == "-" else source
        raise InvalidSettings("--spec", f"{name}: {where}{error.problem}", error.remedy) from None
    if unknown:
        message(f"warning: fields that this build does not know are ignored: {', '.join(unknown)}")
    return spec


def spec_from(data: bytes) -> tuple[RunSpec, list[str]]:
    """A run's specification, and the fields in it that this build does not know.

    :raises InvalidMessage: naming the field that is wrong.
    """
    fields = {"run": fresh_id(now_ms()), **parse_object(data)}
    try:
        spec = RunSpec.model_validate(fields)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        more = f" (and {len(others)} more)" if others else ""
        raise InvalidMessage(
            dotted(first["loc"]), f"{first['msg']}{more}", "correct the run's spec"
        ) from None
    return spec, list(_unknown(fields))


def _unknown(fields: Mapping[str, Any]) -> Iterator[str]:
    """Fields that a valid specification does not have, as dotted paths."""
    yield from _not_in(RunSpec, fields, "")
    yield from _not_in(Budget, fields.get("budget", {}), "budget.")
    parts: tuple[tuple[str, type[BaseModel]], ...] = (("agents", AgentSpec), ("roots", FollowUp))
    for name, model in parts:
        for number, part in enumerate(cast("list[dict[str, Any]]", fields[name])):
            yield from _not_in(model, part, f"{name}.{number}.")


def _not_in(model: type[BaseModel], fields: Mapping[str, Any], prefix: str) -> Iterator[str]:
    return (prefix + name for name in fields if name not in model.model_fields)
