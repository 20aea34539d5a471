"""The data folder of an instance: its locks, its secrets, and how others find its servers.

Two locks (`flock`, so that a death of any kind frees them). `owner.lock` is held by the one process
that supervises. `servers.lock` is handed on to the servers themselves, so that it is free only
when none of them is left to write into the folder.
"""

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import InvalidSettings, ServerFailed
from protocol.messages import Record

LEAST_FREE_BYTES = 64 * 1024 * 1024
ANOTHER_FOLDER = "choose another folder with --data"


class Secrets(Record):
    """What stays the same as long as the folder lives, so that clients find a restarted instance again."""

    id: str
    coordinator_password: str
    worker_password: str
    redis_password: str
    nats_port: int = 0
    redis_port: int = 0

    @staticmethod
    def generate() -> "Secrets":
        return Secrets(
            id=secrets.token_hex(8),
            coordinator_password=secrets.token_urlsafe(32),
            worker_password=secrets.token_urlsafe(32),
            redis_password=secrets.token_urlsafe(32),
        )


class NatsConnection(Record):
    """Options of the group `nats`."""

    url: str
    user: str
    password: str
    inbox_prefix: str = "_INBOX"


class RedisConnection(Record):
    """Options of the group `redis`."""

    url: str
    password: str


class WorkerConnection(Record):
    """Content of `worker.json`: the bus alone, with a worker's rights."""

    id: str
    nats: NatsConnection


class Connection(Record):
    """Content of `instance.json`. `id` names the instance, `pid` is the process that supervises it."""

    id: str
    pid: int
    nats: NatsConnection
    redis: RedisConnection
    worker: WorkerConnection


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths in a data folder, and what may be done with them."""

    path: Path

    @property
    def instance_file(self) -> Path:
        """The connection file of the coordinator's side."""
        return self.path / "instance.json"

    @property
    def worker_file(self) -> Path:
        """The connection file of workers: the bus alone, with a worker's rights."""
        return self.path / "worker.json"

    def server(self, name: str) -> Path:
        return self.path / name

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.path / f"{name}.pid"

    def prepare(self) -> None:
        """Creates the folder, for this user alone.

        :raises ServerFailed: where it cannot be written, or the disk is full.
        """
        try:
            for folder in (self.path, self.server("nats"), self.server("redis")):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            raise ServerFailed(
                "data folder", f"{self.path} cannot be written: {error.strerror}", ANOTHER_FOLDER
            ) from error
        if free < LEAST_FREE_BYTES:
            raise ServerFailed(
                "data folder",
                f"{self.path} has only {free // 1024**2} MiB free",
                f"free at least {LEAST_FREE_BYTES // 1024**2} MiB, or {ANOTHER_FOLDER}",
            )

    def try_lock(self, name: str) -> int | None:
        """Takes a lock; its descriptor, or None while another holds it.

        :raises ServerFailed: where the file system has no locks, or the folder is not ours.
        """
        try:
            descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServerFailed("data folder", f"{self.path}: {error.strerror}", ANOTHER_FOLDER) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise ServerFailed(
                "data folder", f"{self.path} cannot be locked: {error.strerror}", ANOTHER_FOLDER
            ) from error
        return descriptor

    def owned(self) -> bool:
        """Whether some process supervises servers here now."""
        try:
            descriptor = os.open(self.path / "owner.lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    def secrets(self) -> Secrets:
        """The folder's secrets; new ones where there are none, or the file is damaged."""
        with suppress(OSError, ValueError):
            return Secrets.model_validate_json((self.path / "secrets.json").read_bytes())
        fresh = Secrets.generate()
        self.keep(fresh)
        return fresh

    def keep(self, fresh: Secrets) -> None:
        write_private(self.path / "secrets.json", fresh)

    def read_connection(self) -> Connection | None:
        """The connection file; None where there is none. :raises ValueError: for a damaged one."""
        try:
            return Connection.model_validate_json(self.instance_file.read_bytes())
        except FileNotFoundError:
            return None

    def living_connection(self) -> Connection | None:
        """The connection file, as long as its owner lives; a left-over one counts for nothing.

        :raises InvalidSettings: for a damaged file of a living owner.
        """
        if not self.owned():
            return None
        try:
            return self.read_connection()
        except (OSError, ValueError) as error:
            raise InvalidSettings(
                str(self.instance_file), "is damaged", "stop `coordinator up` and start it again"
            ) from error


def write_private(path: Path, content: Record) -> None:
    """Replaces a file in one step; nobody else may read it.

    :raises ServerFailed: when the disk is full, or the folder cannot be written.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content.model_dump_json(indent=2))
            file.flush()
            os.fsync(descriptor)
        scratch.replace(path)
    except OSError as error:
        raise ServerFailed(
            "data folder", f"{path} cannot be written: {error.strerror}", ANOTHER_FOLDER
        ) from error
