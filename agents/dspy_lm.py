"""Language models whose every call is a step of the journal of the task in whose scope it is made.

Journaling lies where DSPy decides, executes and finishes a call (`BaseLM.__call__` and `acall`), so that
adapters, retries after a parse failure, rollout ids, callbacks and streaming are DSPy's own. A call that is
answered from the journal looks to DSPy like one that is answered from its cache.
"""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportUntypedBaseClass=false
# pyright: reportUntypedFunctionDecorator=false

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import cache, partial
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import dspy
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.clients.call_result import CallResult, attributes
from dspy.clients.execution import PreparedCall, aexecute, execute, finalize, prepare
from dspy.clients.legacy_outputs import plain
from dspy.utils import exceptions as dspy_errors
from dspy.utils.callback import with_callbacks
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
)
from pydantic import BaseModel, JsonValue
from pydantic_core import to_jsonable_python

from agents.agent import KeptAside, ModelBusy, Priced, ProviderDown
from agents.dspy_scope import Scope, current_scope
from protocol.messages import Usage
from protocol.prices import PriceRow

MICRO = 1_000_000
PATIENCE_SECONDS = 86_400.0
MOST_TOKENS = 10**12
ERROR_FIELDS = (
    "message",
    "code",
    "model",
    "provider",
    "provider_code",
    "status",
    "request_id",
    "retry_after",
)
MAY_HAVE_BEEN_BILLED = (LMTimeoutError, LMTransportError)

UNNAMABLE = re.compile(r"[^A-Za-z0-9_.:@\[\]-]")

Execute = Callable[[], Awaitable[CallResult]]


class Journaled(dspy.BaseLM):
    """A part of the class of a journaled model. Outside of any scope it changes nothing."""

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        if current_scope() is None:
            return super().__call__(prompt, messages=messages, **kwargs)
        return self._call_as_step(prompt, messages=messages, **kwargs)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        if current_scope() is None:
            return await super().acall(prompt, messages=messages, **kwargs)
        return await self._acall_as_step(prompt, messages=messages, **kwargs)

    @with_callbacks
    def _call_as_step(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        scope = _open_scope()
        call = prepare(self, prompt, messages, kwargs)
        result = scope.wait(_step, scope, self, call, partial(_executed, self, call))
        return finalize(self, call, result)

    @with_callbacks
    async def _acall_as_step(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        scope = _open_scope()
        call = await asyncio.to_thread(prepare, self, prompt, messages, kwargs, asynchronous=True)
        result = await scope.go(_step, scope, self, call, partial(aexecute, self, call))
        return finalize(self, call, result)


async def _executed(lm: dspy.BaseLM, call: PreparedCall) -> CallResult:
    """A synchronous call, in a thread of its own: its caller's waits for the journal."""
    threads = anyio.CapacityLimiter(math.inf)
    return await anyio.to_thread.run_sync(execute, lm, call, abandon_on_cancel=True, limiter=threads)


def journaled(lm: dspy.BaseLM) -> dspy.BaseLM:
    """The same model, journaled: with its settings, client and capabilities, and its class for a base."""
    if isinstance(lm, Journaled):
        return lm
    copy = lm.copy()
    copy.__class__ = _class_of(type(lm))
    return copy


@cache
def _class_of(base: type) -> type:
    return type(f"Journaled{base.__name__}", (Journaled, base), {"__module__": base.__module__})


def _open_scope() -> Scope:
    scope = cast("Scope", current_scope())
    scope.check()
    return scope


async def _step(scope: Scope, lm: dspy.BaseLM, call: PreparedCall, run: Execute) -> CallResult:
    """The result of a call: the recorded one, or that of `run`, recorded.

    A prompt that is too long is too long again: this error is a recorded result. Any other may pass, and
    is kept aside.
    """
    fresh: list[CallResult] = []
    own: list[BaseException] = []

    async def made() -> Priced:
        try:
            result = await _through(scope, lm, run)
        except ContextWindowExceededError as error:
            return Priced({"error": _told(error)}, Usage(model_calls=1))
        except LMError as error:
            own.append(error)
            cost = None if isinstance(error, MAY_HAVE_BEEN_BILLED) else 0
            raise KeptAside({"error": _told(error)}, Usage(model_calls=1, cost_microdollars=cost)) from error
        except (ProviderDown, ModelBusy):
            raise  # it ends the attempt, whatever the program makes of it
        except Exception as error:
            own.append(error)
            raise
        told = _dumped(result, call)
        value = whole(told)
        if value == told:
            fresh.append(result)
        return Priced(value, usage_of(result, scope.context.prices.find(str(lm.model))))

    try:
        value = await scope.context.step(scope.path, request_of(lm, call), made)
    except KeptAside:
        raise own[0] from None
    except Exception as error:
        if not any(error is one for one in own):
            scope.failure = error
        raise
    return fresh[0] if fresh else _loaded(cast("Mapping[str, Any]", value))


async def _through(scope: Scope, lm: dspy.BaseLM, run: Execute) -> CallResult:
    """Makes a call, if the model's limit and the circuit breaker of its provider let it. What the provider
    refuses for a fault of the request, it has answered.
    """
    context = scope.context
    async with context.permit(str(lm.model)) as permit, context.provider(provider_of(lm)) as call:
        try:
            result = await run()
        except LMRateLimitError as error:
            call.failed(str(error), limited=True, retry_after=patience(error))
            raise
        except (LMTimeoutError, LMServerError, LMTransportError) as error:
            call.failed(f"{type(error).__name__}: {error}")
            raise
        except LMProviderError:
            call.answered()
            raise
        if not result.cache_hit:
            usage = usage_of(result, None)
            permit.took(usage.tokens_in + usage.tokens_out)
        return result


def patience(error: LMRateLimitError) -> timedelta | None:
    """What a provider asks for, as far as anybody has it."""
    asked = error.retry_after
    return None if asked is None else timedelta(seconds=min(max(0.0, asked), PATIENCE_SECONDS))


def provider_of(lm: dspy.BaseLM) -> str:
    """`openai` of `openai/gpt-5-mini`; with the host where calls go to an address of their own."""
    name = str(lm.model).partition("/")[0]
    host = urlsplit(str(lm.kwargs.get("api_base") or "")).netloc.rpartition("@")[2]
    return UNNAMABLE.sub("-", f"{name}@{host}" if host else name)[:200] or "-"


def request_of(lm: dspy.BaseLM, call: PreparedCall) -> JsonValue:
    """All that decides the answer; without keys, addresses, headers and timeouts."""
    asked = call.legacy
    if call.request is not None:
        asked = {
            "request": call.key(lm, asynchronous=False)["request"],
            "rollout_id": call.kwargs.get("rollout_id"),
        }
    content = {name: value for name, value in asked.items() if name not in CLIENT_KEYS}
    return to_jsonable_python({"model_type": lm.model_type, **content}, fallback=_schema)


def whole(value: JsonValue) -> JsonValue:
    """The same without what models and tools may bring and no record can hold: NaN, lone surrogates."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        case list():
            return [whole(one) for one in value]
        case dict():
            return {cast("str", whole(name)): whole(one) for name, one in value.items()}
        case _:
            return value


def _schema(value: Any) -> object:
    """What a response must look like is data; of anything else the type will do."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return {"name": value.__name__, "schema": value.model_json_schema()}
    return value.__qualname__ if isinstance(value, type) else type(value).__qualname__


def _dumped(result: CallResult, call: PreparedCall) -> JsonValue:
    """A result without what no caller sees: a typed call gets the whole response, others the outputs."""
    if call.request is not None:
        return {"typed": to_jsonable_python(result.dump())}
    return to_jsonable_python(
        {"outputs": plain(result.outputs), "cost": result.cost, "model": result.response_model}
    )


def _loaded(value: Mapping[str, Any]) -> CallResult:
    """:raises LMError: the recorded one."""
    if "error" in value:
        raise _error(value["error"])
    if "typed" in value:
        return CallResult.load(value["typed"])
    return CallResult(
        outputs=[attributes(output) for output in value["outputs"]],
        cost=value["cost"],
        response_model=value["model"],
        cache_hit=True,
    )


def usage_of(result: CallResult, row: PriceRow | None) -> Usage:
    """What a call has cost: by the table's price, else as DSPy estimates it, else unknown. An answer of
    DSPy's own cache has cost nothing.
    """
    if result.cache_hit:
        return Usage()
    usage = result.usage
    details = usage.get("prompt_tokens_details") or {}
    tokens_in = _count(usage, "prompt_tokens", "input_tokens")
    tokens_out = _count(usage, "completion_tokens", "output_tokens")
    tokens_cached = _count(details, "cached_tokens")
    cost = None if result.cost is None else round(result.cost * MICRO)
    if row is not None:  # without a count of tokens nobody knows
        counted = tokens_in or tokens_out
        cost = row.price.microdollars(tokens_in, tokens_out, tokens_cached) if counted else None
    return Usage(
        model_calls=1,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=tokens_cached,
        cost_microdollars=cost,
    )


def _count(usage: Mapping[str, Any], *names: str) -> int:
    return next((_tokens(usage[name]) for name in names if isinstance(usage.get(name), int | float)), 0)


def _tokens(told: float) -> int:
    """What cannot be a number of tokens is none: the call is paid for, whatever its bill says."""
    return int(told) if 0 <= told <= MOST_TOKENS else 0


def _told(error: LMError) -> dict[str, JsonValue]:
    fields = {name: getattr(error, name) for name in ERROR_FIELDS}
    return {"class": type(error).__name__, **to_jsonable_python(fields, fallback=str)}


def _error(told: Mapping[str, Any]) -> LMError:
    """The error as it was; of a class that is gone only that it was a model's."""
    kind = getattr(dspy_errors, told["class"], LMError)
    return kind(**{name: told[name] for name in ERROR_FIELDS})
