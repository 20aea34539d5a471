"""Exit codes of the commands, and which error leads to which."""

from enum import IntEnum
from typing import Any, cast

from protocol.errors import (
    BrokenArchive,
    InvalidMessage,
    InvalidSettings,
    NotFound,
    OperatorError,
    ServerMissing,
    SwarmError,
)


class Exit(IntEnum):
    """What a command ends with; promised in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    TIMED_OUT = 5
    RUN_FAILED = 6
    INTERRUPTED = 130


def exit_code(error: SwarmError) -> Exit:
    match error:
        case InvalidSettings() | InvalidMessage():
            return Exit.USAGE
        case NotFound():
            return Exit.NOT_FOUND
        case OperatorError() if not isinstance(error, BrokenArchive):
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED


def remedy(error: SwarmError) -> str:
    """What to do about an error whose message does not say it already; empty otherwise."""
    match error:
        case ServerMissing():
            return ""
        case NotFound(kind="schema"):
            return "`coordinator schema --help` says which there are; without a name it prints all messages"
        case BrokenArchive():
            return "`coordinator verify` says what else is wrong; restore the store from a backup"
        case OperatorError():
            return (
                "`coordinator doctor` says what is missing; `coordinator up` starts servers on this machine"
            )
        case _:
            return ""


def first_swarm_error(error: BaseException) -> SwarmError | None:
    """The error itself, or the first SwarmError inside of a group that task groups made."""
    if isinstance(error, SwarmError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[Any]", error)
        return next((found for inner in group.exceptions if (found := first_swarm_error(inner))), None)
    return None


def as_json(error: SwarmError) -> dict[str, object]:
    """The error as commands print it with `--json`."""
    return {
        "error": type(error).__name__,
        "message": str(error),
        "remedy": remedy(error),
        "exit": int(exit_code(error)),
    }
