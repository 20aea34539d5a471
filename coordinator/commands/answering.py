"""What `answer` and `signal` have in common: how a value, an approval and a name are given."""

import getpass
import re

from pydantic import JsonValue
from pydantic_core import from_json

from blackboard.state import InquiryRow
from protocol.errors import InvalidSettings

APPROVAL_LENGTH = 8
"""So much of a digest has to be given at least: it shows that somebody has looked."""


def parsed(text: str, row: InquiryRow) -> JsonValue:
    """JSON where it is JSON and may be; the plain text otherwise."""
    return text if row.wait.choices else json_or_text(text)


def json_or_text(text: str) -> JsonValue:
    """JSON where it is JSON (NaN is none); the plain text otherwise."""
    try:
        return from_json(text, allow_inf_nan=False)
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


def answerer() -> str:
    """The operator's name, as far as it can stand in a record."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "operator"
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:64] or "operator"
