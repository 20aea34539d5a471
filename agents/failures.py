"""How a run of an agent failed, as the coordinator needs to know it: by who must act."""

import traceback
from collections.abc import Iterable
from typing import Any, Literal, cast

from agents.agent import AgentFailure, ProviderDown
from agents.board import BoardRefused
from agents.outside import outside_failure
from protocol.messages import Failure

MESSAGE_LIMIT = 4_000
TRACEBACK_LIMIT = 16_000

Expected = Literal["user", "capacity", "transient"]


class InvalidOutput(Exception):
    """An agent returned what cannot be accepted. `field` is where, in its own terms."""

    def __init__(self, agent: str, field: str, problem: str) -> None:
        super().__init__(f"agent {agent!r}: {field}: {problem}")


class FailedElsewhere(Exception):
    """A failure that was classified in another process."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """What an agent raised, classified. Of a group, what is worst: a bug before all else."""
    try:
        return _classified(error)
    except Exception as problem:  # noqa: BLE001 - an error may be wrong itself: its text, its kind, its patience
        reason = traceback.format_exception_only(problem)[-1].strip()
        message = f"{type(error).__name__}, which cannot be reported as it is: {reason}"
        return Failure(kind="bug", message=_fitting(message), traceback=_trace(error))


def _classified(error: BaseException) -> Failure:
    causes = [outside_failure(cause) or cause for cause in _leaves(error)]
    for cause in causes:
        if not isinstance(cause, AgentFailure | FailedElsewhere) and not _passing(cause):
            return _bug(cause, error)
    return _expected(causes[0], error)


def _expected(cause: BaseException, error: BaseException) -> Failure:
    match cause:
        case FailedElsewhere():
            return cause.failure
        case AgentFailure():
            return _bug(cause, error) if cause.kind == "bug" else _declared(cause)
        case _:
            return Failure(kind="transient", message=_fitting(str(cause)))


def _passing(cause: BaseException) -> bool:
    """Whether the board refused for a reason that another attempt may not meet."""
    return isinstance(cause, BoardRefused) and cause.reply.error in {"fence", "operator"}


def _declared(cause: AgentFailure) -> Failure:
    pause = None if cause.retry_after is None else min(max(cause.retry_after.total_seconds(), 0.0), 86_400.0)
    kind = cast("Expected", cause.kind)
    provider = cause.provider if isinstance(cause, ProviderDown) else None
    return Failure(kind=kind, message=_fitting(str(cause)), retry_after_seconds=pause, provider=provider)


def _bug(cause: BaseException, error: BaseException) -> Failure:
    message = (
        str(cause) if isinstance(cause, AgentFailure | InvalidOutput) else f"{type(cause).__name__}: {cause}"
    )
    return Failure(kind="bug", message=_fitting(message), traceback=_trace(error))


def _trace(error: BaseException) -> str:
    return _tail(_printable("".join(traceback.format_exception(error))))


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[Any]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _fitting(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def _tail(text: str) -> str:
    """The end of a traceback says most."""
    return text if len(text) <= TRACEBACK_LIMIT else "…" + text[1 - TRACEBACK_LIMIT :]


def _printable(text: str) -> str:
    """Lone surrogates do not travel in JSON."""
    return text.encode("utf-8", "replace").decode()
