"""The commands, run from another folder as a person or a program would; what goes on is installed."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import forked

ROOT = Path(__file__).parents[2]
COORDINATOR = str(Path(sysconfig.get_path("scripts")) / "coordinator")
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> Sequence[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Shell:
    """Runs `coordinator` over one data folder, from a folder that is not the repository."""

    home: Path
    data: Path
    extra: Mapping[str, str] = field(default_factory=dict[str, str])

    def __call__(self, *arguments: str, stdin: str | None = None, code: int | None = 0) -> Answer:
        """What a command says that ends by itself; `code` is what it must end with."""
        done = forked.run(
            ["coordinator", *arguments, "--data", str(self.data)],
            folder=self.home,
            environment=self.environment,
            stdin=(stdin or "").encode(),
            timeout_seconds=PATIENCE_SECONDS,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr.decode())
        assert code is None or answer.code == code, f"{arguments} ended with {answer}"
        return answer

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [COORDINATOR, *arguments, "--data", str(self.data)],
            cwd=self.home,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SWARMBOARD_", "XDG_", "PYTHON"))
        }
        return {**kept, "HOME": str(self.home), **self.extra}

    def left_over(self) -> Sequence[str]:
        """Command lines of processes that have to do with the data folder."""
        mark = str(self.data)
        return [line for pid in _pids() if mark in (line := _described(pid))]


def spec(agent: str, topic: str = "something", *, tasks: int = 1, **more: Any) -> str:
    """A run of one agent with one direction."""
    return json.dumps(
        {
            "goal": f"let {agent} do something",
            "agents": [{"name": agent}],
            "roots": [{"agent": agent, "topic": topic}],
            "budget": {"tasks": tasks},
            **more,
        }
    )


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> Answer:
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return Answer(process.returncode, out, err.decode())


def line_with(process: subprocess.Popen[bytes], text: str, count: int = 1) -> str:
    """Reads standard error up to the count-th line that contains the text."""
    assert process.stderr is not None
    for line in iter(process.stderr.readline, b""):
        if text in line.decode():
            count -= 1
            if not count:
                return line.decode()
    raise AssertionError(f"standard error ended without {text!r}")


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so in {seconds:g} s"
        time.sleep(0.05)


def _pids() -> Sequence[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _described(pid: int) -> str:
    """Command line and folder of a process; empty for one that has ended."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{pid}: {command} in {Path(f'/proc/{pid}/cwd').readlink()}" if command else ""
    except OSError:
        return ""
