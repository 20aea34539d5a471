"""Real server processes for tests: on loopback, killable, and never left behind.

The kernel kills a server when the thread that started it ends (Linux), and `atexit` covers the rest.
"""

import atexit
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from coordinator.embedded.programs import find_nats_server, find_redis_server

READY_SECONDS = 20.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server process on one port over one data folder, for as many lives as a test gives it."""

    def __init__(self, folder: Path, program: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.program = program
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self.environ: Mapping[str, str] = {}
        """Variables that the process gets besides those that are there."""
        self.log_path = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    def start(self) -> Self:
        """Starts the process and returns when it answers."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self) -> None:
        """Starts the process, which the kernel kills when the calling thread ends."""
        assert not self.running, "already running"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environ},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one foreign call, which takes no Python lock
                start_new_session=True,
            )

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not (self._answers() and self.running):
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.program.name} did not come up; its log ends:\n{self.log_tail()}")
            time.sleep(0.01)

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ends the process in good order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Ends the process with SIGKILL and returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """A new process on the same port and data, whether the old one still runs or was killed."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freezes the process: connections stay open, nothing answers. Returns when it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self._process is not None, "never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=1.0)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class NatsServer(Server):
    """nats-server with JetStream on disk.

    `extra_users` is configuration text: further entries of `authorization.users`, for tests of permissions.
    """

    user = "swarm"

    def __init__(self, folder: Path, extra_users: str = "") -> None:
        super().__init__(folder, find_nats_server())
        self._config = folder / "nats.conf"
        self._extra_users = extra_users
        self._write_config()

    def change_password(self) -> None:
        """Refuses the old password from now on, also to those who are connected."""
        self.password = secrets.token_urlsafe(18)
        self._write_config()
        os.kill(self.pid, signal.SIGHUP)

    def _write_config(self) -> None:
        self._config.write_text(
            f"""
listen: "127.0.0.1:{self.port}"
max_payload: 1MB
jetstream {{ store_dir: "{self.folder / "data"}", sync_interval: 100ms }}
authorization {{
  users = [
    {{ user: "{self.user}", password: "{self.password}" }}
    {self._extra_users}
  ]
}}
"""
        )

    @property
    def address(self) -> str:
        """Host and port without credentials."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"nats://{self.user}:{self.password}@127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        return [str(self.program), "--config", str(self._config)]

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


class RedisServer(Server):
    """redis-server with an append-only file, synced every second."""

    def __init__(self, folder: Path, *settings: str) -> None:
        super().__init__(folder, find_redis_server())
        self._config = folder / "redis.conf"
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"requirepass {self.password}",
            f"dir {folder}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            *settings,
        )
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        return [str(self.program), str(self._config)]

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    answer += connection.recv(200) or b"\r\n\r\n"
                return b"+PONG" in answer
        except OSError:
            return False
