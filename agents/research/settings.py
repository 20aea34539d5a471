"""Settings of the research agents: from the run's settings, and what only the worker's environment knows."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, JsonValue, ValidationError

from agents.agent import AgentFailure
from agents.model_settings import problems
from protocol.messages import Record

BUILD = "1"
"""Of the research agents: counts up when the names, the order or the requests of their steps change."""


class ResearchSettings(Record):
    """`Context.settings` of a research run; unknown names are left to others."""

    corpus: Annotated[tuple[str, ...], Field(min_length=1, max_length=1_000)]
    """Files and folders to read. Citations are relative to the one that holds the file."""
    cache: str | None = None
    """Folder for index files; None: the user's cache folder."""
    passages: Annotated[int, Field(ge=1, le=50)] = 8
    """Evidence passages of one visit: enough to answer from, few enough to read."""
    follow_ups: Annotated[int, Field(ge=0, le=20)] = 3

    @classmethod
    def of(cls, settings: Mapping[str, JsonValue]) -> "ResearchSettings":
        """:raises AgentFailure: (user) naming each setting that is wrong."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            raise AgentFailure("user", f"settings: {problems(error)}") from error

    def cache_folder(self) -> Path:
        if self.cache:
            return Path(self.cache)
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return Path(base) / "swarmboard" / "indexes"
