"""A session of a reader: a checkout, a home, and one terminal in which they type what a page says."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.pages import ROOT, Block
from tests.support import door
from tests.support.servers import _die_with_parent, free_port

BLOCK_SECONDS = 120
READY_SECONDS = 60
DRAIN_SECONDS = 60
READY = re.compile(r"^(up: data in|coordinator \S+ serves)", re.MULTILINE)
SCRIPTS = Path(sys.executable).parent
SHOWN = ("README.md", "LICENSE", "Makefile", "docs", "compose", "bench")
"""What of the repository is in the checkout of a session. It is linked, so nothing may write into it."""


class Session:
    """Runs the blocks of one page one after the other; what ends in `&` runs until the end of the page.

    `scripts` is where the shell finds the commands.
    """

    def __init__(self, folder: Path, scripts: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in SHOWN:
            (self.folder / name).symlink_to(ROOT / name)
        self._http_port = free_port()
        self._running: list[tuple[Block, subprocess.Popen[bytes], Path]] = []
        self._said = ""
        self.environment = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(("SWARMBOARD_", "XDG_"))
            },
            "PATH": os.pathsep.join(map(str, [scripts, SCRIPTS, os.environ["PATH"]])),
            "HOME": str(folder),
            "SWARMBOARD_HTTP_PORT": str(self._http_port),
        }

    def do(self, block: Block) -> None:
        """Runs a block, or checks what the one before it printed."""
        if "stopped" in block.notes:
            self.end()
        if name := block.notes.get("file"):
            (self.folder / name).write_text(block.text)
        if block.notes.keys() & {"file", "example"}:
            return
        match block.language:
            case "output":
                self._compare(block)
            case "sh" if block.text.rstrip().endswith("&"):
                self._start(block)
            case "sh":
                self._said = self._run(block, ["bash", "-euo", "pipefail", "-c", self._with_port(block.text)])
            case "python":
                self._said = self._run(block, [sys.executable, "-c", self._with_port(block.text)])
            case _:
                pass

    def _with_port(self, text: str) -> str:
        """The default port may be taken on this machine."""
        return text.replace(":8642", f":{self._http_port}")

    def _run(self, block: Block, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        logs = "\n".join(path.read_text() for _, _, path in self._running)
        assert done.returncode == 0, f"{block.where} ended with {done.returncode}:\n{done.stdout}\n{logs}"
        return done.stdout

    def _start(self, block: Block) -> None:
        log = self.folder.parent / f"background-{len(self._running)}.log"
        text = self._with_port(block.text.rstrip().removesuffix("&"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", text],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one foreign call, which takes no Python lock
            )
        self._running.append((block, process, log))
        deadline = time.monotonic() + READY_SECONDS
        while "coordinator " in text and not READY.search(log.read_text()):
            assert process.poll() is None, f"{block.where} ended: {log.read_text()}"
            assert time.monotonic() < deadline, f"{block.where} did not get ready: {log.read_text()}"
            time.sleep(0.05)

    def _compare(self, block: Block) -> None:
        at = 0
        for line in filter(None, block.text.splitlines()):
            pattern = r"[^\n]*".join(r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
            found = re.compile(rf"^\s*{pattern}\s*$", re.MULTILINE).search(self._said, at)
            assert found, (
                f"{block.where} promises this line, in this place: {line!r}; printed was:\n{self._said}"
            )
            at = found.end()

    def end(self) -> None:
        """Ends what runs, as Ctrl-C or an orchestrator would, the newest first."""
        while self._running:
            block, process, log = self._running[-1]
            process.send_signal(signal.SIGTERM)
            code = process.wait(DRAIN_SECONDS)
            assert code == 0, f"{block.where} ended with {code}:\n{log.read_text()}"
            self._running.pop()

    def kill(self) -> None:
        for _, process, _ in self._running:
            process.kill()
            process.wait()


@contextmanager
def session(folder: Path) -> Generator[Session]:
    with door.opened(folder) as scripts:
        reader = Session(folder, scripts)
        try:
            yield reader
            reader.end()
        finally:
            reader.kill()
