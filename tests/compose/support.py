"""The servers of compose.yaml as plain processes, on the very files that compose mounts."""

import re
import secrets
from pathlib import Path
from typing import Any

import yaml

from coordinator.embedded.programs import find_nats_server, find_redis_server
from tests.support.servers import NatsServer, RedisServer, Server, free_port

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


class ComposeNats(NatsServer):
    """compose/nats.conf, or `config`, with only ports and the folder moved by the command line."""

    def __init__(self, folder: Path, config: Path = COMPOSE / "nats.conf") -> None:
        Server.__init__(self, folder, find_nats_server())
        self.config = config
        self.passwords = {name: secrets.token_hex(12) for name in ("COORDINATOR", "WORKER")}

    def _command(self) -> list[str]:
        passwords = [f"NATS_{name}_PASSWORD={password}" for name, password in self.passwords.items()]
        moved = ["--addr", "127.0.0.1", "--port", str(self.port), "--http_port", str(free_port())]
        storage = ["--store_dir", str(self.folder / "data")]
        return ["env", *passwords, str(self.program), "--config", str(self.config), *moved, *storage]


class ComposeRedis(RedisServer):
    """compose/redis.conf, with only port and folder moved by the command line."""

    def __init__(self, folder: Path) -> None:
        Server.__init__(self, folder, find_redis_server())

    def _command(self) -> list[str]:
        moved = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [str(self.program), str(COMPOSE / "redis.conf"), "--requirepass", self.password, *moved]


def config_of_one_worker(folder: Path, worker: str) -> Path:
    """compose/nats.conf with the permissions that its comment gives to a worker with a user of its own."""
    text = (COMPOSE / "nats.conf").read_text()
    for direction in ("publish", "subscribe"):
        own = re.search(rf"#   {direction}: (.+)", text)
        assert own is not None
        allowed = own[1].replace("<worker>", worker)
        text = re.sub(
            rf"^( +{direction}: {{\s+allow: \[)[^]]+",
            lambda match, new=allowed: match[1] + new,
            text,
            flags=re.MULTILINE,
        )
    path = folder / "nats.conf"
    path.write_text(text)
    return path
