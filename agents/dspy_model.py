"""Asking a language model through DSPy: construction, journal, usage, and whose fault an error is."""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    DSPyError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMRateLimitError,
    is_retryable_lm_error,
)
from dspy.utils.usage_tracker import UsageTracker, track_usage
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from agents.agent import AgentFailure, Context
from agents.model_settings import ModelSettings
from protocol.messages import Record, Usage

_USER_ERRORS = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    ContextWindowExceededError,
)


class Answered(Record):
    """A recorded model step: the module's outputs by field, and what they have cost."""

    outputs: dict[str, JsonValue]
    usage: Usage


class _CallCounter(BaseCallback):
    """Counts requests, with those that DSPy makes again by itself when it cannot parse a reply."""

    def __init__(self) -> None:
        self.calls = 0

    def on_lm_start(self, call_id: str, instance: object, inputs: dict[str, Any]) -> None:
        del call_id, instance, inputs
        self.calls += 1


def language_model(settings: ModelSettings) -> dspy.LM:
    """The model of the settings. It keeps no cache and retries nothing: the journal and the swarm do that,
    without holding a slot. OpenAI's protocol is spoken natively, whatever the environment says.

    :raises AgentFailure: (user) when its key is missing or its name is none.
    """
    options: dict[str, Any] = {"timeout": settings.timeout_seconds}
    if base := settings.base():
        options["api_base"] = base
    if key := settings.key():
        options["api_key"] = key
    try:
        return dspy.LM(
            settings.model,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            cache=False,
            num_retries=0,
            engine="lm15" if settings.model.startswith("openai/") else "auto",
            **options,
        )
    except (DSPyError, ValueError) as error:
        raise AgentFailure("user", f"model {settings.model!r}: {error}") from error


async def ask(
    context: Context, path: str, module: dspy.Module, inputs: Mapping[str, JsonValue], lm: dspy.BaseLM | None
) -> Answered:
    """Calls a module as a model step of the journal: a later attempt replays it and pays nothing.

    Without `lm` the module's own model is asked. The outputs are JSON.
    :raises AgentFailure: by who must act on the model's error.
    """
    request: JsonValue = {"model": lm.model if lm is not None else "", "inputs": dict(inputs)}
    call = partial(_call, module, inputs, lm)
    recorded = await context.step(path, request, call, usage=Usage(model_calls=1))
    return Answered.model_validate(recorded)


async def _call(module: dspy.Module, inputs: Mapping[str, JsonValue], lm: dspy.BaseLM | None) -> JsonValue:
    counter = _CallCounter()
    overrides: dict[str, Any] = {"disable_history": True, "callbacks": [counter]}
    if lm is not None:
        overrides["lm"] = lm
    try:
        with dspy.context(**overrides), track_usage() as tracker:
            prediction = await module.acall(**inputs)
    except DSPyError as error:
        raise failure_of(error) from error
    outputs: dict[str, JsonValue] = to_jsonable_python(dict(prediction.items()))
    return Answered(outputs=outputs, usage=_usage(tracker, counter.calls)).model_dump(mode="json")


def failure_of(error: DSPyError) -> AgentFailure:
    """Rate limits ask for patience, credentials and requests for the user; what may pass is transient."""
    message = f"model: {type(error).__name__}: {error}"[:4_000]
    if isinstance(error, LMRateLimitError):
        wait = None if error.retry_after is None else timedelta(seconds=max(0.0, error.retry_after))
        return AgentFailure("capacity", message, retry_after=wait)
    if isinstance(error, _USER_ERRORS):
        return AgentFailure("user", message)
    if is_retryable_lm_error(error) or isinstance(error, AdapterParseError):
        return AgentFailure("transient", message)
    return AgentFailure("bug", message)


def _usage(tracker: UsageTracker, calls: int) -> Usage:
    totals = tracker.get_total_tokens().values()
    return Usage(
        model_calls=calls,
        tokens_in=sum(_count(total, "prompt_tokens", "input_tokens") for total in totals),
        tokens_out=sum(_count(total, "completion_tokens", "output_tokens") for total in totals),
        cost_microdollars=None,
    )


def _count(total: Mapping[str, Any], *names: str) -> int:
    return next((int(total[name]) for name in names if isinstance(total.get(name), int | float)), 0)
