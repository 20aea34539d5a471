"""What a check finds."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor. `fix` says what to do unless all is well."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def version_of(text: str) -> tuple[int, ...]:
    """(2, 12, 5) of "2.12.5-RC.1"; empty for anything that is no version."""
    parts = text.partition("-")[0].split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()
