"""Settings of the research agents: from the run's settings, and what only the worker's environment knows."""

import os
from collections.abc import Mapping
from pathlib import Path
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
        """The endpoint: the run's, else the environment's."""
        return self.api_base or os.environ.get("SWARMBOARD_API_BASE") or os.environ.get("OPENAI_API_BASE")


class ResearchSettings(Record):
    """`Context.settings` of a research run; unknown names are left to others."""

    corpus: Annotated[tuple[str, ...], Field(min_length=1, max_length=1_000)]
    """Files and folders to read. Citations are relative to the one that holds the file."""
    cache: str | None = None
    """Folder for index files; None: the user's cache folder."""
    passages: Annotated[int, Field(ge=1, le=50)] = 8
    """Evidence passages of one visit: enough to answer from, few enough to read."""
    follow_ups: Annotated[int, Field(ge=0, le=20)] = 3
    model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    model_timeout_seconds: float = 60.0

    @classmethod
    def of(cls, settings: Mapping[str, JsonValue]) -> "ResearchSettings":
        """:raises AgentFailure: (user) naming each setting that is wrong."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            raise AgentFailure("user", f"settings: {_problems(error)}") from error

    def cache_folder(self) -> Path:
        if self.cache:
            return Path(self.cache)
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return Path(base) / "swarmboard" / "indexes"

    def language_model(self) -> ModelSettings | None:
        """:raises AgentFailure: (user) naming each setting that is wrong."""
        if not self.model:
            return None
        try:
            return ModelSettings(
                model=self.model,
                api_base=self.api_base,
                api_key_env=self.api_key_env,
                timeout_seconds=self.model_timeout_seconds,
            )
        except ValidationError as error:
            raise AgentFailure("user", f"model settings: {_problems(error)}") from error


def prepare_environment() -> None:
    """To be called before DSPy is imported: keeps it from fetching a price list from the network."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
