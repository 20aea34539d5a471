"""Tools and models inside of a DSPy module, made steps of the task in whose scope they are called."""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from types import TracebackType
from typing import Any, cast

import anyio
import anyio.to_thread
import dspy
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from agents.agent import AgentFailure, Happened
from agents.dspy_lm import Journaled, journaled, whole
from agents.dspy_scope import Scope, current_scope, running_loop
from agents.effects import Declared, declared, keyed
from protocol.messages import Usage

_log = logging.getLogger(__name__)

ONE_CALL = Usage(tool_calls=1)
_AS_STEP = "__swarmboard_step__"


class ToolFailed(Exception):
    """A tool raised. Its message goes to the model; its traceback, with this machine's paths, to the log."""

    __module__ = "builtins"

    @property
    def __traceback__(self) -> TracebackType | None:
        return None

    @__traceback__.setter
    def __traceback__(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, value: TracebackType | None
    ) -> None:
        """Python's own record is not kept here."""


def durable(module: dspy.Module) -> dspy.Module:
    """The module itself, or a copy of it in which every tool and every model of its own is journaled."""
    if not any(_plain_in(value) for part in _parts(module) for value in vars(part).values()):
        return module
    copy = module.deepcopy()
    for part in _parts(copy):
        for name, value in list(vars(part).items()):
            if _plain_in(value):
                setattr(part, name, _journaled(value))
    return copy


def _parts(module: dspy.Module) -> list[Any]:
    """The module, and all within it, each once."""
    within = (module, *(part for _, part in module.named_sub_modules()))
    return list({id(part): part for part in within}.values())


def _plain_in(value: Any) -> bool:
    """Whether an attribute is, or holds, a tool or a model that is not journaled yet."""
    match value:
        case dict():
            return any(_plain_tool(one) for one in value.values())
        case list() | tuple():
            return any(_plain_tool(one) for one in value)
        case dspy.BaseLM():
            return not isinstance(value, Journaled)
        case _:
            return _plain_tool(value)


def _plain_tool(value: Any) -> bool:
    """DSPy's own tools, such as the one that ends a ReAct loop, do nothing that anybody sees."""
    if not isinstance(value, dspy.Tool):
        return False
    function = value.func
    return not hasattr(function, _AS_STEP) and not (function.__module__ or "").startswith("dspy.")


def _journaled(value: Any) -> Any:
    match value:
        case dict():
            return {name: _journaled(one) for name, one in value.items()}
        case list() | tuple():
            return type(value)(_journaled(one) for one in value)
        case dspy.BaseLM():
            return journaled(value)
        case _ if _plain_tool(value):
            return value.model_copy(update={"func": as_step(value.name or value.func.__name__, value.func)})
        case _:
            return value


def as_step(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A tool's function whose calls are steps, or effects, as was declared; outside of any scope as it is."""
    what = declared(function)

    @wraps(function)
    def call(**kwargs: Any) -> Any:
        scope = current_scope()
        if scope is None:
            return function(**kwargs)
        scope.check()
        work = partial(_outcome, scope, name, function, what, kwargs)
        return _value(scope.wait(work)) if running_loop() is None else _awaited(scope, work)

    setattr(call, _AS_STEP, True)
    return call


async def _awaited(scope: Scope, work: Callable[[], Awaitable[Mapping[str, Any]]]) -> Any:
    return _value(await scope.go(work))


def _value(outcome: Mapping[str, Any]) -> Any:
    if "error" in outcome:
        raise ToolFailed(outcome["error"])
    return outcome["value"]


async def _outcome(
    scope: Scope, name: str, function: Callable[..., Any], what: Declared, kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """What the tool returned, or how it failed: both are recorded, since the model has seen them.

    One that waits is not: it runs again, and its answers are in the journal.
    """
    path = f"{scope.path}/{name}"
    request: JsonValue = to_jsonable_python(kwargs, fallback=lambda value: type(value).__qualname__)

    async def pure() -> JsonValue:
        return await _ran(function, kwargs)

    async def effect(key: str) -> JsonValue:
        with keyed(key):
            return await _ran(function, kwargs)

    try:
        if what.kind == "waits":
            outcome = await _ran(function, kwargs)
        elif what.kind == "pure":
            outcome = await scope.context.step(path, request, pure, usage=ONE_CALL)
        else:
            reconcile = None if what.reconcile is None else partial(_reconciled, what.reconcile)
            outcome = await scope.context.effect(path, request, effect, kind=what.kind, reconcile=reconcile)
    except Exception as error:
        scope.failure = error
        raise
    known = isinstance(outcome, dict) and outcome.keys() in ({"value"}, {"error"})
    return cast("Mapping[str, Any]", outcome) if known else {"value": outcome}


async def _ran(function: Callable[..., Any], kwargs: dict[str, Any]) -> JsonValue:
    """:raises AgentFailure: what the tool says of the whole task is for nobody else."""
    try:
        return {"value": _recordable(await _called(function, **kwargs))}
    except AgentFailure:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a tool raises is its typed outcome
        _log.warning("tool %r failed", function.__name__, exc_info=error)
        return {"error": whole(_said(error))}


async def _reconciled(reconcile: Callable[[str], object], key: str) -> Happened | None:
    """What a tool's reconciler found, as the tool's outcome."""
    found = await _called(reconcile, key)
    if not isinstance(found, Happened):
        return None
    return Happened({"value": _recordable(found.value)})


def _recordable(value: Any) -> JsonValue:
    """What a tool returned as JSON; what has none goes as the text that a model would see of it."""
    return whole(to_jsonable_python(value, fallback=str))


def _said(error: BaseException) -> str:
    """Class and text of an error; an error's text may fail, too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as problem:  # noqa: BLE001 - it is said
        return f"{type(error).__name__}, whose text cannot be had: {type(problem).__name__}"


async def _called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """An async function is awaited; any other runs in a thread, since it may block."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    threads = anyio.CapacityLimiter(math.inf)
    found = await anyio.to_thread.run_sync(
        partial(function, *args, **kwargs), abandon_on_cancel=True, limiter=threads
    )
    return await found if inspect.isawaitable(found) else found
