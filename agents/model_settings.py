"""Settings of language models: from a run's settings, and what only the worker's environment knows."""

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from agents.agent import AgentFailure
from protocol.messages import Record


class ModelSettings(Record):
    """Which language model to ask, and how. The key itself never travels: only its variable's name does."""

    model: Annotated[str, StringConstraints(min_length=1)]
    api_base: str | None = None
    api_key_env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*_API_KEY$")] | None = None
    """Variable of the worker's environment that holds the key. The pattern keeps a run's settings
    from reading any other variable."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=16)] = 2_000

    def key(self) -> str | None:
        """:raises AgentFailure: (user) when a variable is named and not set."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise AgentFailure("user", f"model key: {self.api_key_env} is not set where the worker runs")
        return key

    def base(self) -> str | None:
        """The endpoint: the run's, else the provider's in the environment (`OPENAI_API_BASE`)."""
        prefix = self.model.partition("/")[0].upper()
        return (
            self.api_base
            or os.environ.get(f"{prefix}_API_BASE")
            or os.environ.get(f"{prefix}_BASE_URL")
            or None
        )

    @classmethod
    def of(cls, settings: Mapping[str, JsonValue]) -> "ModelSettings | None":
        """From `Context.settings`; None when they name no model.

        :raises AgentFailure: (user) naming each setting that is wrong.
        """
        if not settings.get("model"):
            return None
        names = {"model_timeout_seconds": "timeout_seconds", "model_temperature": "temperature"}
        given = {names.get(name, name): value for name, value in settings.items()}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise AgentFailure("user", f"model settings: {problems(error)}") from error


def prepare_environment() -> None:
    """To be called before DSPy is imported: keeps it from fetching a price list from the network."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")


def problems(error: ValidationError) -> str:
    """What is wrong in which setting, on one line."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
