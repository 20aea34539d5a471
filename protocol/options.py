"""Groups of options that coordinator and worker share, so that one settings file serves both."""

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from protocol.limits import Limit
from protocol.prices import Price
from protocol.settings import Group

Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
Positive = Annotated[int, Field(ge=1, le=2**53)]


def split_list(value: object) -> object:
    """A list from an environment variable: parts between commas."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


Names = Annotated[tuple[str, ...], BeforeValidator(split_list)]


class Nats(Group):
    """The bus."""

    url: Annotated[str, Field(pattern=r"^(nats|tls)://[^/]")] = "nats://127.0.0.1:4222"
    """Address of nats-server, or several with commas between; the port is NATS's own by default."""
    user: str = ""
    """User of the bus; empty for a server without users."""
    password: SecretStr = SecretStr("")
    """Password of the user."""
    inbox_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "_INBOX"
    """Where replies arrive; users with narrow permissions may each have their own."""
    connect_timeout_seconds: Seconds = 5
    """How long the first connection may take before the server counts as unreachable."""

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses one by one."""
        return tuple(part.strip() for part in self.url.split(",") if part.strip())


class Liveness(Group):
    """Who is alive, and when somebody is given up. Equal for coordinators and workers."""

    heartbeat_seconds: Annotated[float, Field(gt=0, le=30)] = 10
    """Longest time between two beats of a worker. Above 30 s a single lost beat could end a lease."""
    silence_seconds: Seconds = 90
    """A worker that is silent for so long loses its tasks: nine beats, so that no pause of a
    busy machine is taken for a death."""
    sweep_seconds: Annotated[float, Field(gt=0, le=5)] = 1
    """Time between two sweeps for silent workers, lost tasks and deadlines; P4 allows at most 5 s."""
    lease_seconds: Annotated[float, Field(ge=0.2, le=600)] = 10
    """How long a dead coordinator blocks its runs: a take-over waits at most so long."""
    grace_seconds: Seconds = 15
    """What a new leader allows workers to answer its call for beats: one beat and a half."""

    @field_validator("silence_seconds")
    @classmethod
    def _several_beats(cls, silence: float, info: ValidationInfo) -> float:
        beat = info.data.get("heartbeat_seconds", 0)
        if silence < 3 * beat:
            raise ValueError(f"must be at least three heartbeats, 3 x {beat:g} s = {3 * beat:g} s")
        return silence


class Breaking(Group):
    """Circuit breakers of the providers that agents call; shared by the whole swarm."""

    failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    """Calls that fail one after the other until the breaker opens: fewer could be chance."""
    window_seconds: Seconds = 60
    """Failures that are older do not count."""
    open_seconds: Seconds = 30
    """Time from opening to the first probe, where the provider names none; doubled by each failed probe."""
    longest_seconds: Seconds = 600
    """Longest time between two probes."""
    probe_seconds: Seconds = 120
    """How long a probe may take; its call is given up then. More than a model's timeout."""


class Data(Group):
    """Where the embedded servers keep everything."""

    folder: str = ""
    """The data folder; empty for $XDG_DATA_HOME/swarmboard. Two folders are two separate instances."""


class Model(Group):
    """The language model. Without a name everything works extractively."""

    name: str = ""
    """Provider and model as DSPy takes them, such as `openai/gpt-5-mini`."""
    api_base: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Address of an OpenAI-compatible server; empty for the provider's own."""
    api_key: SecretStr = SecretStr("")
    """Key for the model; empty to leave it to the provider's own environment variable."""


def parse_json(value: object) -> object:
    """A table from an environment variable: JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error


Swarmwide = Annotated[dict[str, Limit], BeforeValidator(parse_json)]


class Prices(Group):
    """What models cost."""

    models: Annotated[dict[str, Price], BeforeValidator(parse_json)] = {}  # noqa: RUF012 - pydantic copies it
    """Dollars for a million tokens by name of the model, which may hold `*`: `input`, `output`, and `cached`
    where that differs. They win over the shipped ones."""


class Log(Group):
    """Messages on standard error."""

    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for one object per line."""
    level: Literal["debug", "info", "warning", "error"] = "warning"
    """Least level that is written; `-v` is info and `-vv` is debug."""
