"""Identities: sorted by time where something is new, derived by hash where it is the same thing again.

Every id is safe as one token of a NATS subject and as part of a Redis key.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What may stand as an id, an agent's name or a worker's name."""
BUILD_PATTERN = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
"""What may stand as the name of a build."""
ANY = "*"
"""Stands for every build where one says which journals it goes on from."""


def uuid7(now_ms: int, entropy: bytes) -> str:
    """UUIDv7 (RFC 9562) as 32 hex digits, from the wall clock in milliseconds and 10 random bytes."""
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def derive(kind: str, *parts: str) -> str:
    """The id of the thing that `parts` determine: `kind`, a hyphen, 24 hex digits of BLAKE2b.

    Parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
    """
    hashed = _begun(kind, *parts[:-1]).copy()
    hashed.update(_told(parts[-1:]))
    return f"{kind}-{hashed.hexdigest()}"


@lru_cache(maxsize=1024)
def _begun(kind: str, *parts: str) -> hashlib.blake2b:
    """The hash of all parts but the last, which many ids have in common."""
    return hashlib.blake2b(_told(parts), digest_size=12, person=kind.encode()[:16])


def _told(parts: Iterable[str]) -> bytes:
    raw = [part.encode() for part in parts]
    return b"".join([len(part).to_bytes(4, "big") + part for part in raw])


def task_id(run: str, direction: str, visit: int) -> str:
    return derive("task", run, direction, str(visit))


def artifact_id(task: str, artifact_type: str, key: str) -> str:
    """`key` is the author's key, or the ordinal among the task's artifacts of that type."""
    return derive("art", task, artifact_type, key)


def given_id(task: str, replaced: str, digest: str) -> str:
    """Of an artifact that a task gets in another's place: the same content there is the same artifact."""
    return derive("art", "given", task, replaced, digest)


def direction_id(run: str, agent: str, topic: str, inputs: tuple[str, ...] = ()) -> str:
    """Directions that say the same thing are one: the topic counts normalised, the inputs sorted."""
    return derive("dir", run, agent, normalise_topic(topic), *sorted(inputs))


def finish_topic(rounds: int) -> str:
    """The topic under which the finishing agents' directions have their ids, after so many earlier rounds."""
    return f"finish {rounds + 1}" if rounds else "finish"


def inquiry_id(task: str, path: str, request: str, occurrence: int) -> str:
    """The same wait of a task is the same inquiry, in every attempt."""
    return derive("inq", task, path, request, str(occurrence))


def normalise_topic(topic: str) -> str:
    return " ".join(topic.casefold().split())
