"""Settings of a worker: the one place in `agents` that reads the environment.

Flags win over the environment, then come the project's settings file, the user's, the running
embedded servers, and the defaults.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from protocol.errors import InvalidSettings
from protocol.files import read_text
from protocol.messages import Id, Record
from protocol.options import Breaking, Data, Liveness, Log, Model, Names, Nats, Positive, Prices, Seconds
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


class Worker(Group):
    """The worker itself."""

    name: Id = "worker"
    """Name on the bus, one per worker; by default the host's name and the process id."""
    agents: Annotated[Names, Field(max_length=64)] = ()
    """Agents to offer: `module` for all that it declares, `module:attribute` for one, or the name of an
    entry point. Empty for all entry points of installed packages."""
    build: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.+-]{1,64})?$")] = ""
    """Build of the agents that declare none; empty for a digest of the source of the module of each. Tasks
    that have recorded steps only go to the build that wrote them, and to compatible ones."""
    compatible: Annotated[Names, Field(max_length=64)] = ()
    """Other builds whose journals all its agents go on from; `*` for all."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 4
    """Tasks at the same time; agents that wait for a model or the network bear many more than cores."""
    processes: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes for agents that keep the interpreter busy; 0 for one per core."""
    drain_seconds: Seconds = 25
    """How long a drained worker may finish what it runs: less than the 30 s that orchestrators allow."""
    republish_seconds: Seconds = 5
    """How long a finished task waits for its receipt before its discovery is published again."""
    max_buffered_bytes: Positive = 64 * 1024 * 1024
    """Bound on discoveries that wait for their receipt; beyond it no new task is claimed."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address of /metrics and /healthz; only this machine by default."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Port of /metrics and /healthz; 0 for neither, as many workers may share a machine."""


class WorkerSettings(Groups):
    """Everything that a worker can be told."""

    worker: Worker = Worker()
    nats: Nats = Nats()
    data: Data = Data()
    liveness: Liveness = Liveness()
    breaker: Breaking = Breaking()
    prices: Prices = Prices()
    model: Model = Model()
    log: Log = Log()


class _Connections(Record):
    """What `worker.json` of embedded servers says."""

    nats: dict[str, str]


def load(
    flags: Mapping[str, object], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Loaded[WorkerSettings]:
    """Settings from every source. `flags` are by dotted name; those that are None or empty were not given.

    :raises InvalidSettings: naming the option and where its value came from.
    """
    environ = os.environ if environ is None else environ
    layers = [
        Layer("flag", {name: value for name, value in flags.items() if value not in {None, ()}}),
        environment_layer(WorkerSettings, environ, read_text),
        *file_layers(WorkerSettings, folder or Path.cwd(), environ, read_text),
    ]
    data = str(first_given(layers, "data.folder") or default_data_folder(environ))
    layers += [
        connection_layer(WorkerSettings, _connection(Path(data).expanduser() / "worker.json"), layers),
        Layer(DEFAULT, {"data.folder": data, "worker.name": default_name(socket.gethostname(), os.getpid())}),
    ]
    return resolve(WorkerSettings, layers)


def default_name(host: str, pid: int) -> str:
    """A name that no other worker has, as far as hosts have names of their own."""
    short = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in host.partition(".")[0]
    )
    return f"{short[:48] or 'host'}-{pid}"


def _connection(path: Path) -> Mapping[str, Mapping[str, str]]:
    text = read_text(path)
    if text is None:
        return {}
    try:
        return _Connections.model_validate_json(text).model_dump()
    except ValidationError as error:
        raise InvalidSettings(str(path), "is damaged", "stop `coordinator up` and start it again") from error
