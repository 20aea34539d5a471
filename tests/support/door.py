"""`coordinator` and `worker` on a shell's PATH, without the imports: behind each waits a warm process.

A script that imports next to nothing asks at a door, and lends the process that is forked for it its folder,
environment and streams. It passes on the signals that it gets, and takes over the exit code.
"""

import json
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from pathlib import Path
from threading import Thread

from tests.support import forked

SCRIPT = """#!{python} -ISs
import json, os, signal, socket, sys

with socket.socket(socket.AF_UNIX) as door:
    door.connect({address!r})
    asked = [os.getpid(), [{name!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)]
    door.sendall(json.dumps(asked).encode() + b"\\n")
    answers = door.makefile()
    pid = int(answers.readline())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    code = int(answers.readline())
    sys.exit(code if code >= 0 else 128 - code)
"""


@contextmanager
def opened(folder: Path) -> Generator[Path]:
    """A folder with the two scripts, for as long as the door is open."""
    scripts, address = folder / "bin", folder / "door"
    scripts.mkdir()
    for name in forked.COMMANDS:
        script = scripts / name
        script.write_text(SCRIPT.format(python=sys.executable, address=str(address), name=name))
        script.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(address))
        door.listen()
        keeper = Thread(target=_keep, args=[door], name="door")
        keeper.start()
        try:
            yield scripts
        finally:
            door.shutdown(socket.SHUT_RD)
            keeper.join()


def _keep(door: socket.socket) -> None:
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        Thread(target=_serve, args=[caller], name="caller").start()


def _serve(caller: socket.socket) -> None:
    """One command, which does not outlive its caller."""
    with caller, caller.makefile("rw") as told:
        pid, command, folder, environment = json.loads(told.readline())
        stdin, stdout, stderr = (Path(f"/proc/{pid}/fd/{number}") for number in range(3))
        process = forked.start(
            command,
            folder=Path(folder),
            environment=environment,
            streams=forked.Streams(stdout, stderr, stdin),
        )
        print(process.pid, file=told, flush=True)
        connection.wait([process.process.sentinel, caller])
        process.kill()
        with suppress(BrokenPipeError):  # a caller that was killed
            print(process.wait(), file=told, flush=True)
