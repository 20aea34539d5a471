"""`coordinator unknowns`: effects whose outcome was lost, and a person's word on them."""

from collections.abc import Sequence

import click
from pydantic import JsonValue

from coordinator.commands.acting import check_reason, operating
from coordinator.commands.answering import answerer, json_or_text
from coordinator.commands.shared import plain, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST, Records, the_one
from coordinator.unknowns import Unknown, unknown_effects
from protocol.errors import InvalidSettings, NotFound
from protocol.messages import AnswerRequest, Failure
from protocol.running import run_async

REQUEST_WIDTH = 60
REASON_LENGTH = 4_000


@click.command("unknowns", cls=Verb)
@click.argument("run", default=LATEST)
@click.argument("effect", required=False)
@click.option(
    "--happened", metavar="VALUE", is_flag=False, flag_value="null", help="It did, with this outcome."
)
@click.option("--not-happened", is_flag=True, help="It did not: it is done now.")
@click.option("--give-up", metavar="TEXT", help="Nobody will know: the task fails, for this reason.")
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    effect: str | None,
    happened: str | None,
    not_happened: bool,
    give_up: str | None,
) -> None:
    """List the effects of a RUN whose outcome was lost, or say of one EFFECT what became of it.

    An EFFECT is named by its key. Only unsafe ones wait for a person; the others are done again under the
    same key, or reconciled, by the task's next attempt.
    """
    said = [happened is not None, not_happened, give_up is not None]
    if effect is None:
        if any(said):
            raise InvalidSettings("EFFECT", "is missing", "name it by its key, as the list does")
        run_async(_list, invocation, run)
        return
    if sum(said) != 1:
        raise InvalidSettings("--happened", "is missing, or is not alone", "say one of the three things")
    check_reason(give_up, option="--give-up", limit=REASON_LENGTH)
    answer: JsonValue = {"happened": json_or_text(happened)} if happened is not None else "did not happen"
    run_async(_settle, invocation, run, effect, answer, give_up)


async def _list(invocation: Invocation, prefix: str) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        found = await _found(records, run)
    if invocation.json:
        emit_json([plain(one) for one in found])
    elif found:
        emit_table(("effect", "kind", "agent", "path", "what now", "request"), [_row(one) for one in found])
    else:
        message(f"run {run}: the outcome of every effect is known")


async def _found(records: Records, run: str) -> list[Unknown]:
    inquiries = await records.inquiries(run)
    found: list[Unknown] = []
    for task in await records.tasks(run):
        if task.unknown:
            steps = await records.steps(run, task)
            requests = await records.requests(run, steps)
            found += unknown_effects(task, steps, requests, inquiries)
    return found


def _row(one: Unknown) -> Sequence[object]:
    shown = one.request if len(one.request) <= REQUEST_WIDTH else one.request[: REQUEST_WIDTH - 1] + "…"
    return one.key, one.effect, one.agent, f"{one.path} ({one.ordinal})", one.fate, shown


async def _settle(
    invocation: Invocation, prefix: str, key: str, answer: JsonValue, give_up: str | None
) -> None:
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        known = {one.key: one for one in await _found(operator.records, run)}
        one = known[the_one("effect", key, list(known))]
        if one.inquiry is None:
            raise NotFound("open question about effect", one.key)
        request = AnswerRequest(
            inquiry=one.inquiry,
            answerer=answerer(),
            answer=None if give_up is not None else answer,
            failure=None if give_up is None else Failure(kind="user", message=give_up),
        )
        await operator.answer(run, request)
    if invocation.json:
        emit_json({"run": run, "effect": one.key, "settled": True})
    else:
        message(f"effect {one.key} of run {run} is settled")
