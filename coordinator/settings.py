"""Settings of the coordinator: the one place in it that reads the environment.

Flags win over the environment, then come the project's settings file, the user's, the running
embedded servers, and the defaults.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from coordinator.embedded.folder import Connection, DataFolder
from protocol.errors import InvalidSettings
from protocol.files import read_text
from protocol.limits import Limit
from protocol.messages import REPLY_BYTES
from protocol.options import (
    Breaking,
    Data,
    Liveness,
    Log,
    Model,
    Nats,
    Positive,
    Prices,
    Seconds,
    Swarmwide,
)
from protocol.settings import (
    DEFAULT,
    Group,
    Groups,
    Layer,
    Loaded,
    connection_layer,
    default_data_folder,
    environment_layer,
    file_layers,
    first_given,
    resolve,
)


class Redis(Group):
    """The store."""

    url: Annotated[str, Field(pattern=r"^(redis|rediss|unix)://")] = "redis://127.0.0.1:6379/0"
    """Address of redis-server and number of the database."""
    user: str = ""
    """User of the store; empty for the default user."""
    password: SecretStr = SecretStr("")
    """Password of the user, when it is not in the address."""
    timeout_seconds: Seconds = 5
    """Bound on every call: a black-holed connection must not hold up a leader longer than half its lease."""


class Embedded(Group):
    """The servers that `run` and `up` start on this machine."""

    durable: bool = False
    """Whether every append is on disk before it counts: survives power loss, at about half the speed.
    Without it, kill -9 of every process loses nothing and a power loss at most the last second."""
    start_seconds: Seconds = 30
    """How long a server may take to start; loading a million artifacts takes about 6 s."""
    stop_seconds: Seconds = 15
    """How long a server may take to stop before it is killed."""


class Admission(Group):
    """Bounds on what is accepted; beyond them the answer is an explicit refusal."""

    max_active_runs: Positive = 100
    """Runs that are not at their end, over all coordinators: each costs a leader, a consumer and memory."""
    max_queued_commands: Positive = 10_000
    """Commands that wait for one run's leader: some 3 s of work, less than a request's patience."""
    max_queued_tasks: Positive = 1_000
    """Dispatched and unclaimed tasks of one run: enough for any fleet, as dispatch binds late."""


class Limits(Group):
    """Sizes in bytes, and how much of an agent or a model the swarm uses. Above 64 KiB content travels and is
    kept by digest, whatever is set here.
    """

    reply_bytes: Annotated[int, Field(ge=4096, le=REPLY_BYTES)] = REPLY_BYTES
    """Largest reply to a worker; more is paged."""
    max_body_bytes: Positive = 256 * 1024 * 1024
    """Largest body at all; Redis takes values up to 512 MiB."""
    agents: Swarmwide = {}  # noqa: RUF012 - pydantic copies it
    """By agent, which may hold `*`: `concurrent` tasks at once and tasks `per_minute`, over all runs."""
    models: Swarmwide = {}  # noqa: RUF012
    """By model, which may hold `*`: `concurrent` calls at once, calls `per_minute` and `tokens_per_minute`,
    of all workers."""
    permit_seconds: Annotated[float, Field(ge=2, le=600)] = 15
    """When a worker that is not heard of loses its share of the models: five renewals."""

    @field_validator("agents")
    @classmethod
    def _of_models_only(cls, agents: dict[str, Limit]) -> dict[str, Limit]:
        for name, limit in agents.items():
            if limit.tokens_per_minute is not None:
                raise ValueError(f"{name}.tokens_per_minute: tokens are limited under limits.models")
        return agents


class Http(Group):
    """Health checks, metrics and the API."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; only this machine by default."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8642
    """Port to listen on; 0 for any free one."""
    token: SecretStr = SecretStr("")
    """What requests for runs must carry as `Authorization: Bearer`. Without one only this machine may ask;
    health and metrics are open to whoever can connect."""


class Retention(Group):
    """How long what has ended is kept."""

    keep_seconds: Seconds = 30 * 86_400
    """How long a run stays readable after its end, where it does not say so itself."""
    log_events: Positive = 10_000
    """Newest events of a run's log that are kept at least; rows and settlements stay whatever this says."""
    segment_events: Positive = 1_000
    """What is older leaves the log by segments of so many events, so a log has about one more of them."""
    archive: bool = True
    """Whether what leaves a log is put away, compressed, for as long as its run is kept: `coordinator verify`
    then proves the rows from the first event on."""
    journals: Positive = 1_000
    """Newest tasks of a run that ended well whose journals stay whole; at times a tenth more. Of older ones
    calls, effects and costs are kept, no replies of models: they cannot be forked within, nor replayed."""
    journal_seconds: Annotated[float, Field(ge=0)] = 0
    """How long a journal stays whole after such a task has ended, at times a tenth longer; 0: as long as it
    is among the newest. Runs that have ended keep what they have until they expire."""
    orphan_seconds: Seconds = 3_600
    """How long a body that nothing names is kept: longer than any retry of its commit."""


class Settings(Groups):
    """Everything that the coordinator can be told."""

    nats: Nats = Nats()
    redis: Redis = Redis()
    data: Data = Data()
    embedded: Embedded = Embedded()
    liveness: Liveness = Liveness()
    admission: Admission = Admission()
    limits: Limits = Limits()
    http: Http = Http()
    retention: Retention = Retention()
    breaker: Breaking = Breaking()
    prices: Prices = Prices()
    model: Model = Model()
    log: Log = Log()

    @property
    def data_folder(self) -> Path:
        return Path(self.data.folder).expanduser().absolute()


def load(
    flags: Mapping[str, object],
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    connection: Connection | None = None,
) -> Loaded[Settings]:
    """Settings from every source. `flags` are by dotted name; those that are None were not given.

    `connection` is that of the embedded servers where the caller has them; otherwise the data
    folder is asked for those that run.

    :raises InvalidSettings: naming the option and where its value came from.
    """
    environ = os.environ if environ is None else environ
    layers = [
        Layer("flag", {name: value for name, value in flags.items() if value is not None}),
        environment_layer(Settings, environ, read_text),
        *file_layers(Settings, folder or Path.cwd(), environ, read_text),
    ]
    data = str(first_given(layers, "data.folder") or default_data_folder(environ))
    if connection is None:
        connection = DataFolder(Path(data).expanduser().absolute()).living_connection()
    known = connection.model_dump() if connection else {}
    layers += [connection_layer(Settings, known, layers), Layer(DEFAULT, {"data.folder": data})]
    return resolve(Settings, layers)


def wants_embedded(loaded: Loaded[Settings]) -> bool:
    """Whether nobody named a server, so that `run` and `up` bring their own.

    :raises InvalidSettings: when only one of the two servers is named.
    """
    nats, redis = loaded.given("nats.url"), loaded.given("redis.url")
    if nats != redis:
        missing = "redis.url" if nats else "nats.url"
        raise InvalidSettings(
            missing, "is not set while the other server is", "name both servers, or neither"
        )
    return not nats
