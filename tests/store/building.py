"""Batches and artifacts in few words."""

import hashlib
from collections.abc import Sequence

from blackboard.encoding import encode_artifact
from blackboard.store import ArtifactWrite, Batch, BlackboardStore, Page, RowWrite
from protocol.artifacts import Artifact, Producer, digest_of
from protocol.messages import BodyRef, QueryRequest

RUN = "run-1"
TTL = 30.0
NOW = 1_000_000


def artifact(number: int, **fields: object) -> Artifact:
    defaults = {
        "id": f"art-{number}",
        "run": RUN,
        "number": number,
        "type": "finding",
        "payload": {"n": number},
        "digest": digest_of({"n": number}),
        "producer": Producer(agent="explorer", task="task-1", attempt=1),
        "direction": "dir-1",
        "created_ms": NOW + number,
    }
    return Artifact.model_validate({**defaults, **fields})


def write(number: int, **fields: object) -> ArtifactWrite:
    return encode_artifact(artifact(number, **fields))


def events(*names: str) -> list[bytes]:
    return [f'["{name}",{{}}]'.encode() for name in names]


def task_row(key: str, value: str = "x") -> RowWrite:
    return RowWrite("task", key, value.encode())


def body_ref(body: bytes) -> BodyRef:
    return BodyRef(digest=hashlib.sha256(body).hexdigest(), size_bytes=len(body))


async def create(store: BlackboardStore, run: str = RUN, token: str = "leader-1") -> int:
    """A run of one event, led by `token`; returns its head."""
    head = await store.append(
        Batch(run, "", 0, events("run_created"), [RowWrite("run", "spec", b"spec")]), ttl_seconds=TTL
    )
    assert await store.acquire(run, token, ttl_seconds=TTL)
    return head


async def add(store: BlackboardStore, head: int, *artifacts: ArtifactWrite, run: str = RUN) -> int:
    batch = Batch(run, "leader-1", head, events("artifact_posted"), (), artifacts)
    return await store.append(batch, ttl_seconds=TTL)


async def put(store: BlackboardStore, body: bytes, *, ttl_seconds: float = TTL) -> str:
    ref = body_ref(body)
    await store.put(RUN, ref.digest, size_bytes=ref.size_bytes, offset=0, chunk=body, ttl_seconds=ttl_seconds)
    return ref.digest


def numbers(page: Page) -> list[int]:
    return [Artifact.model_validate_json(value).number for value in page.artifacts]


async def ask(
    store: BlackboardStore, *, agent: str = "*", now_ms: int = NOW, **conditions: object
) -> list[int]:
    """Numbers of all answers, page by page to the end."""
    found: list[int] = []
    query = QueryRequest.model_validate({"agent": "nobody", **conditions}).model_copy(update={"agent": agent})
    while True:
        page = await store.query(RUN, query, now_ms=now_ms)
        assert len(page.artifacts) <= query.limit
        found += numbers(page)
        if page.cursor is None:
            return found
        query = query.model_copy(update={"cursor": page.cursor})


async def contents(store: BlackboardStore, run: str = RUN) -> tuple[object, ...]:
    """All that a reader can see of a run's log, rows and artifacts."""
    loaded = await store.load(run)
    log = await store.log(run, after=0, limit=100_000)
    return loaded, log, await store.rows(run, "step"), await ask(store)


def ids(artifacts: Sequence[ArtifactWrite]) -> list[str]:
    return [item.id for item in artifacts]
