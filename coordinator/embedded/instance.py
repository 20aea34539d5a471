"""What a caller gets to know of running embedded servers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.embedded.config import COORDINATOR_USER, WORKER_INBOX, WORKER_USER
from coordinator.embedded.folder import (
    Connection,
    DataFolder,
    NatsConnection,
    RedisConnection,
    Secrets,
    WorkerConnection,
)


@dataclass(frozen=True, slots=True)
class Instance:
    """Servers that run over a data folder. `owned`: started by this process, not adopted from another."""

    folder: DataFolder
    connection: Connection
    owned: bool

    def worker_environment(self) -> Mapping[str, str]:
        """Environment variables that lead a worker to this instance."""
        nats = self.connection.worker.nats
        return {
            "SWARMBOARD_NATS_URL": nats.url,
            "SWARMBOARD_NATS_USER": nats.user,
            "SWARMBOARD_NATS_PASSWORD": nats.password,
            "SWARMBOARD_NATS_INBOX_PREFIX": nats.inbox_prefix,
        }


def connection_of(secrets: Secrets) -> Connection:
    """How to reach the servers that this process supervises."""
    url = f"nats://127.0.0.1:{secrets.nats_port}"
    worker = NatsConnection(
        url=url, user=WORKER_USER, password=secrets.worker_password, inbox_prefix=WORKER_INBOX
    )
    return Connection(
        id=secrets.id,
        pid=os.getpid(),
        nats=NatsConnection(url=url, user=COORDINATOR_USER, password=secrets.coordinator_password),
        redis=RedisConnection(
            url=f"redis://127.0.0.1:{secrets.redis_port}/0", password=secrets.redis_password
        ),
        worker=WorkerConnection(id=secrets.id, nats=worker),
    )
