"""What a leader must read before it can decide: journals of older attempts, bodies that travelled apart."""

from collections.abc import Sequence

from pydantic import ValidationError

from blackboard.encoding import decode_steps
from blackboard.evolve import bodies_of, step_digest, step_key
from blackboard.state import RunState
from blackboard.store import BlackboardStore
from protocol.artifacts import canonical_json
from protocol.errors import InvalidMessage, MessageTooLarge, NotFound
from protocol.messages import INLINE_BODY_BYTES, BodyRef, Failure, Step, SwarmDiscovery
from protocol.strict_json import parse_object

STEP_KEY_WIDTH = 6
READ_BYTES = 4 * 1024 * 1024
PAYLOAD_LIMIT_BYTES = 256 * 1024 * 1024
CONTENT = ("artifacts", "follow_ups", "waits")
"""What of a discovery may travel apart; whose it is may not."""


def step_row_keys(task: str, first: int, count: int) -> list[str]:
    return [f"{task}:{number:0{STEP_KEY_WIDTH}d}" for number in range(first, first + count)]


def check_sizes(steps: Sequence[Step]) -> None:
    """:raises MessageTooLarge: for a value that no reply could carry."""
    for step in steps:
        size = 0 if step.body is not None else len(canonical_json(step.value))
        if size > INLINE_BODY_BYTES:
            raise MessageTooLarge(f"value of step {step.path}", size, INLINE_BODY_BYTES)


def is_unsafe(step: Step) -> bool:
    """Whether a step is the intent of an effect that must not be repeated."""
    return step.kind == "intent" and isinstance(step.value, dict) and step.value.get("effect") == "unsafe"


def asks_the_store(steps: Sequence[Step]) -> bool:
    """Whether the store has a say in the recording of steps."""
    return any(is_unsafe(step) or bodies_of(step) for step in steps)


class Journals:
    """Brings the step digests of tasks that ran under an earlier leader into the state."""

    def __init__(self, store: BlackboardStore, state: RunState) -> None:
        self._store = store
        self._state = state

    def known(self, task: str) -> bool:
        """Whether the journal can be decided on now."""
        row = self._state.tasks.get(task)
        return row is None or row.steps == 0 or task in self._state.journals

    async def read(self, task: str) -> None:
        """:raises StoreUnavailable:"""
        row = self._state.tasks.get(task)
        if row is None or self.known(task):
            return
        rows = await self._store.rows(self._state.spec.run, "step", step_row_keys(task, 0, row.steps))
        if not self.known(task):
            self._state.journals[task] = {step_key(step): step_digest(step) for step in decode_steps(rows)}


class Unpacking:
    """Makes a discovery whole whose content travelled by claim check, and checks the bodies that it names."""

    def __init__(self, store: BlackboardStore, run: str) -> None:
        self._store = store
        self._run = run

    @staticmethod
    def needed(discovery: SwarmDiscovery) -> bool:
        return discovery.body is not None or any(draft.body is not None for draft in discovery.artifacts)

    async def unpack(self, discovery: SwarmDiscovery) -> SwarmDiscovery:
        """The whole discovery; one that names an absent or broken body becomes a transient failure.

        :raises StoreUnavailable:
        """
        try:
            if discovery.body is not None:
                content = parse_object(await self._read(discovery.body.digest))
                found = {name: content[name] for name in CONTENT if name in content}
                discovery = SwarmDiscovery.model_validate(
                    {**discovery.model_dump(exclude={*CONTENT, "body"}), **found}
                )
            for draft in discovery.artifacts:
                if draft.body is not None:
                    await self._check(draft.body)
        except NotFound as error:
            return _failed(discovery, "transient", f"the discovery names a body that is not there: {error}")
        except (InvalidMessage, ValidationError) as error:
            return _failed(discovery, "bug", f"the discovery's body cannot be read: {error}"[:4000])
        return discovery

    async def _check(self, body: BodyRef) -> None:
        """:raises NotFound: when the body is not there.
        :raises InvalidMessage: when it has another size, by which nobody could read it.
        """
        _, size = await self._store.get(self._run, body.digest, offset=0, limit=1)
        if size != body.size_bytes:
            raise InvalidMessage("size_bytes", f"the body has {size:,} bytes", "name the body as it was put")

    async def _read(self, digest: str) -> bytes:
        data, size = await self._store.get(self._run, digest, offset=0, limit=READ_BYTES)
        parts = [data]
        offset = len(data)
        while offset < min(size, PAYLOAD_LIMIT_BYTES) and data:
            data, _ = await self._store.get(self._run, digest, offset=offset, limit=READ_BYTES)
            parts.append(data)
            offset += len(data)
        return b"".join(parts)


def _failed(discovery: SwarmDiscovery, kind: str, message: str) -> SwarmDiscovery:
    failure = Failure.model_validate({"kind": kind, "message": message})
    return discovery.model_copy(
        update={"outcome": "failed", "artifacts": (), "follow_ups": (), "body": None, "failure": failure}
    )
