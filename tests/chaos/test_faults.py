"""What faults do to those who suffer them, one at a time."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clocks import WallClock, clear_up, library
from tests.support.proxy import Proxy
from tests.support.versions import ROOT, before_the_last_change, code_of
from tests.support.waiting import wait_until

OFFSET_SECONDS = -7_200
TELLER = "import time\nwhile input() != 'end': print(time.time(), time.monotonic(), flush=True)"


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[WallClock]:
    yield WallClock(tmp_path / "clock")
    clear_up()


@pytest.mark.anyio
async def test_bytes_that_were_written_one_after_the_other_arrive_at_once() -> None:
    arrived: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            arrived.append(data)
        writer.close()

    async with (
        await asyncio.start_server(listen, "127.0.0.1", 0) as server,
        Proxy.to(server.sockets[0].getsockname()[1]) as proxy,
    ):
        proxy.merge()
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        for number in range(10):
            writer.write(b"%d" % number)
            await writer.drain()
        await wait_until(lambda: bool(arrived))
        writer.close()
    assert arrived == [b"0123456789"]


@pytest.mark.skipif(library() is None, reason="libfaketime is not installed (Debian: apt install faketime)")
def test_the_wall_clock_of_a_process_jumps_and_its_monotonic_clock_does_not(clock: WallClock) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TELLER],
        env=clock.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead in (0, OFFSET_SECONDS, 0):
            clock.set(ahead)
            process.stdin.write("go\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            assert wall - time.time() == pytest.approx(ahead, abs=5)
            assert monotonic == pytest.approx(time.monotonic(), abs=5)
        process.communicate("end\n")


@pytest.mark.skipif(before_the_last_change() is None, reason="the history is not here")
def test_a_process_runs_the_code_of_another_commit(tmp_path: Path) -> None:
    code = code_of(before_the_last_change() or "", tmp_path)
    told = subprocess.run(
        [sys.executable, "-c", "import coordinator.cli as it, tests.chaos; print(it.__file__)"],
        env={"PYTHONPATH": f"{code}:{ROOT}"}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(told.stdout.strip()) == code / "coordinator" / "cli.py"


def test_code_that_cannot_share_the_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--other"):
        code_of("no-such-commit", tmp_path)
