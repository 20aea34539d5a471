"""What `answer` and `signal` have in common: an answer to an open inquiry, as the leader records it."""

import getpass
import json
import re
from dataclasses import dataclass

from pydantic import JsonValue

from blackboard.state import InquiryRow
from coordinator.commands.leading import ask_leader
from coordinator.records import Records
from protocol.errors import InvalidSettings, UserError
from protocol.messages import AnswerReply, AnswerRequest, Failure
from protocol.transport.contract import Transport

APPROVAL_LENGTH = 8
"""So much of a digest has to be given at least: it shows that somebody has looked."""


class AnswerRefused(UserError):
    """The leader did not take the answer."""

    def __init__(self, inquiry: str, reason: str) -> None:
        super().__init__(f"inquiry {inquiry}: {reason}")


@dataclass(frozen=True, slots=True)
class Given:
    """What the operator answers."""

    value: JsonValue = None
    failure: Failure | None = None
    approves: str | None = None


def parsed(text: str, row: InquiryRow) -> JsonValue:
    """JSON where it is JSON and may be; the plain text otherwise."""
    return text if row.wait.choices else json_or_text(text)


def json_or_text(text: str) -> JsonValue:
    """JSON where it is JSON; the plain text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def approval(row: InquiryRow, digest: str | None) -> str | None:
    """The digest that the operator has named by its beginning.

    :raises InvalidSettings: when it is needed and was not named, or another was.
    """
    wanted = row.wait.approves
    if wanted is None:
        return None
    if digest is None or len(digest) < APPROVAL_LENGTH or not wanted.startswith(digest):
        raise InvalidSettings(
            "--approves",
            f"is not {wanted}",
            f"look at what is approved, and name its digest, or its first {APPROVAL_LENGTH} digits at least",
        )
    return wanted


async def send(records: Records, transport: Transport, run: str, row: InquiryRow, given: Given) -> None:
    """:raises AnswerRefused: when the answer does not count.
    :raises NoLeader: when nobody leads the run.
    """
    request = AnswerRequest(
        inquiry=row.id,
        answerer=answerer(),
        answer=given.value,
        failure=given.failure,
        approves=given.approves,
    )
    reply = await ask_leader(records, transport, run, "answer", request, AnswerReply)
    if reply is None:
        raise AnswerRefused(row.id, f"run {run} has ended")
    if reply.verdict == "refused":
        raise AnswerRefused(row.id, reply.reason)


def answerer() -> str:
    """The operator's name, as far as it can stand in a record."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "operator"
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:64] or "operator"
