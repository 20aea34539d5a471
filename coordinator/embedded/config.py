"""Configuration of the embedded servers. Paths in it are relative: each runs in its own folder."""

from coordinator.embedded.folder import Secrets

COORDINATOR_USER = "coordinator"
WORKER_USER = "worker"
WORKER_INBOX = "_INBOX_worker"

WORKER_PUBLISH = (
    "$JS.API.CONSUMER.MSG.NEXT.SWARM_TASKS.>",
    "$JS.ACK.SWARM_TASKS.>",
    "swarm.discoveries",
    "swarm.discoveries.>",
    "swarm.heartbeat",
    "swarm.heartbeat.*",
    "swarm.board.>",
    "swarm.response",
    "swarm.response.>",
    "swarm.inquiry",
    "swarm.inquiry.>",
)
"""All that a worker may say: pull and settle tasks, and talk on its own side of the protocol."""

WORKER_SUBSCRIBE = (
    f"{WORKER_INBOX}.>",
    "swarm.control.>",
    "swarm.inquiry.>",
    "swarm.response.>",
    "swarm.breakers",
)
"""All that a worker may hear."""


def nats_config(secrets: Secrets, port: int, *, durable: bool) -> str:
    """JetStream on disk. `sync_interval: 100ms` costs nothing measurable; the default of two minutes
    would forget acknowledged messages at a power loss. The file limit only bounds reservations.
    """
    return f"""
server_name: "{secrets.id}"
listen: "127.0.0.1:{port}"
max_payload: 1MB
ping_interval: "10s"
jetstream {{
  store_dir: "store"
  sync_interval: {"always" if durable else '"100ms"'}
  max_memory_store: 256MB
  max_file_store: 1TB
}}
authorization {{
  users: [
    {{ user: "{COORDINATOR_USER}", password: "{secrets.coordinator_password}" }}
    {{
      user: "{WORKER_USER}", password: "{secrets.worker_password}"
      permissions {{
        publish: {{ allow: [{_quoted(WORKER_PUBLISH)}] }}
        subscribe: {{ allow: [{_quoted(WORKER_SUBSCRIBE)}] }}
      }}
    }}
  ]
}}
"""


def redis_config(secrets: Secrets, port: int, *, durable: bool) -> str:
    """Append-only, never evicting, no snapshots beside the append-only file."""
    return f"""
bind 127.0.0.1
port {port}
requirepass {secrets.redis_password}
dir ./
databases 1
appendonly yes
appendfsync {"always" if durable else "everysec"}
aof-load-truncated yes
save ""
maxmemory-policy noeviction
daemonize no
logfile ""
"""


def _quoted(subjects: tuple[str, ...]) -> str:
    return ", ".join(f'"{subject}"' for subject in subjects)
