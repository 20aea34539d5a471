"""Running DSPy modules as parts of a task: models, the journal, and whose fault an error is."""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false

import math
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import anyio
import anyio.to_thread
import dspy
from dspy.predict.rlm import RLM
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    DSPyError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMProviderError,
    LMRateLimitError,
    is_retryable_lm_error,
)
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from agents.agent import AgentFailure, Context, UnusableReply
from agents.dspy_lm import journaled, patience
from agents.dspy_scope import SETTING, Branches, Scope
from agents.dspy_tools import durable
from agents.model_settings import ModelSettings

_USER_ERRORS = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    ContextWindowExceededError,
)


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


async def run(
    context: Context, path: str, module: dspy.Module, inputs: Mapping[str, Any], lm: dspy.BaseLM | None = None
) -> dspy.Prediction:
    """Runs a module whose model calls and tool calls are steps of the task's journal, under this path.

    A later attempt replays them, and pays nothing. Without `lm` the module's own models are asked, or
    those of `dspy.settings`. A module with an `aforward` of its own runs in the worker's loop, any other in
    a thread.
    :raises AgentFailure: by who must act on a model's error.
    """
    scope = Scope(context, path)
    module = durable(module)
    model = lm or dspy.settings.lm
    overrides: dict[str, Any] = {
        SETTING: scope,
        "callbacks": [*dspy.settings.get("callbacks", []), Branches()],
        "disable_history": True,
    }
    if model is not None:
        overrides["lm"] = journaled(model)
    try:
        with dspy.context(**overrides):
            prediction = await _prediction(module, inputs)
    except Exception as error:
        failure = scope.failure or (failure_of(error) if isinstance(error, DSPyError) else error)
        if failure is error:
            raise
        raise failure from error  # `Parallel` says of what ended its branches only that they were errors
    finally:
        scope.close()
    if scope.failure is not None:
        raise scope.failure
    return prediction


async def ask(
    context: Context, path: str, module: dspy.Module, inputs: Mapping[str, JsonValue], lm: dspy.BaseLM | None
) -> dict[str, JsonValue]:
    """The outputs of a module by field, as JSON. :raises AgentFailure: as `run` does."""
    prediction = await run(context, path, module, inputs, lm)
    return to_jsonable_python(dict(prediction.items()))


async def _prediction(module: dspy.Module, inputs: Mapping[str, Any]) -> dspy.Prediction:
    if _runs_in_loop(module):
        return await module.acall(**inputs)
    threads = anyio.CapacityLimiter(math.inf)
    return await anyio.to_thread.run_sync(partial(module, **inputs), abandon_on_cancel=True, limiter=threads)


def _runs_in_loop(module: dspy.Module) -> bool:
    """Whether a module can wait without blocking. RLM's generated code calls models synchronously."""
    parts = [module, *(part for _, part in module.named_sub_modules())]
    return hasattr(module, "aforward") and not any(isinstance(part, cast("type[Any]", RLM)) for part in parts)


def failure_of(error: DSPyError) -> AgentFailure:
    """Rate limits ask for patience, credentials and requests for the user; what may pass is transient."""
    message = f"model: {type(error).__name__}: {error}"[:4_000]
    if isinstance(error, LMRateLimitError):
        return AgentFailure("capacity", message, retry_after=patience(error))
    if isinstance(error, _USER_ERRORS):
        return AgentFailure("user", message)
    if isinstance(error, AdapterParseError):
        return UnusableReply(message)
    if is_retryable_lm_error(error) or _unreadable(error):
        return AgentFailure("transient", message)
    return AgentFailure("bug", message)


def _unreadable(error: DSPyError) -> bool:
    """Whether a call was answered with a body that is no answer, as gateways and torn connections do."""
    return type(error) is LMProviderError and error.status == HTTPStatus.OK
