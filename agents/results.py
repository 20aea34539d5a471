"""From what an agent returned to the message that says so, checked on the way."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

from pydantic import BaseModel, JsonValue, ValidationError

from agents.agent import Agent, Discovery, Posting
from agents.failures import InvalidOutput
from agents.ledger import Ledger
from protocol.artifacts import ArtifactRegistry, canonical_json
from protocol.codec import decode_as, encode_body
from protocol.errors import InvalidMessage, UnknownArtifactType
from protocol.messages import (
    INLINE_BODY_BYTES,
    WAITS_LIMIT,
    ArtifactDraft,
    BodyRef,
    Grant,
    SwarmDiscovery,
    Usage,
    Wait,
)

Put = Callable[[bytes], Awaitable[BodyRef]]


class Outgoing(NamedTuple):
    """A discovery, and its body as it travels."""

    message: SwarmDiscovery
    body: bytes


def outgoing(message: SwarmDiscovery) -> Outgoing:
    return Outgoing(message, encode_body(message))


def checked(agent: Agent, found: object) -> Discovery:
    """:raises InvalidOutput: for what is no discovery, or has a reward outside of [0, 1]."""
    if not isinstance(found, Discovery):
        raise InvalidOutput(agent.name, "return value", f"{type(found).__name__} is no Discovery")
    reward = cast("object", found.reward)
    if not isinstance(reward, int | float) or not 0 <= reward <= 1:
        raise InvalidOutput(agent.name, "reward", f"{reward!r} is not in [0, 1]")
    return found


async def describe(
    agent: Agent, grant: Grant, found: Discovery, ledger: Ledger, put: Put, busy_ms: int
) -> Outgoing:
    """The message that says what was found; bodies above the limits are put before.

    :raises InvalidOutput: naming the agent and the field.
    """
    identity = ledger.identity
    drafts = [await _draft(agent, index, item, put) for index, item in enumerate(found.artifacts)]
    try:
        usage = found.usage if found.usage.busy_ms or not busy_ms else _with_time(found.usage, busy_ms)
        message = SwarmDiscovery(
            run=grant.run,
            task=grant.task,
            token=grant.token,
            worker=identity.worker,
            incarnation=identity.incarnation,
            artifacts=tuple(drafts),
            reward=found.reward,
            follow_ups=tuple(found.follow_ups),
            exhausted=found.exhausted,
            usage=usage,
            free_slots=ledger.free_slots,
        )
        first = outgoing(message)
        if drafts or found.follow_ups:
            data = identity.seal(message)
            decode_as(data, SwarmDiscovery, limit_bytes=len(data))
    except (ValidationError, InvalidMessage, TypeError, AttributeError) as error:
        raise InvalidOutput(agent.name, "discovery", _first_problem(error)) from error
    return first if len(first.body) <= INLINE_BODY_BYTES else await _by_claim_check(message, put)


async def suspended(grant: Grant, waits: Sequence[Wait], ledger: Ledger, put: Put, busy_ms: int) -> Outgoing:
    """The message that says what a suspended task waits for: the oldest WAITS_LIMIT waits."""
    identity = ledger.identity
    message = SwarmDiscovery(
        run=grant.run,
        task=grant.task,
        token=grant.token,
        worker=identity.worker,
        incarnation=identity.incarnation,
        outcome="waiting",
        waits=tuple(waits[:WAITS_LIMIT]),
        usage=Usage(busy_ms=busy_ms),
        free_slots=ledger.free_slots,
    )
    first = outgoing(message)
    return first if len(first.body) <= INLINE_BODY_BYTES else await _by_claim_check(message, put)


async def _by_claim_check(message: SwarmDiscovery, put: Put) -> Outgoing:
    """The same discovery with artifacts, follow-ups and waits in a body of its own."""
    fields = message.model_dump(mode="json", include={"artifacts", "follow_ups", "waits"})
    body = await put(json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode())
    return outgoing(message.model_copy(update={"artifacts": (), "follow_ups": (), "waits": (), "body": body}))


async def _draft(agent: Agent, index: int, item: BaseModel | Posting, put: Put) -> ArtifactDraft:
    field = f"artifacts[{index}]"
    posting = item if isinstance(item, Posting) else Posting(item)
    name, version = _type_of(agent, field, posting.payload)
    try:
        payload = cast("JsonValue", posting.payload.model_dump(mode="json"))
        raw = canonical_json(payload)
        body = await put(raw) if len(raw) > INLINE_BODY_BYTES else None
        return ArtifactDraft(
            type=name,
            version=version,
            key=posting.key,
            payload=None if body else payload,
            body=body,
            tags=posting.tags,
            visibility=posting.visibility,
            parents=posting.parents,
            correlation=posting.correlation,
            text=posting.text,
            expires_ms=posting.expires_ms,
        )
    except (ValueError, TypeError) as error:
        raise InvalidOutput(agent.name, f"{field} ({name})", _first_problem(error)) from error


def _type_of(agent: Agent, field: str, payload: object) -> tuple[str, int]:
    if not isinstance(payload, BaseModel):
        raise InvalidOutput(agent.name, field, f"{type(payload).__name__} is no pydantic model")
    try:
        name, version = ArtifactRegistry.shared.name_of(type(payload))
    except UnknownArtifactType as error:
        problem = f"{type(payload).__name__} is not registered; declare it with @artifact"
        raise InvalidOutput(agent.name, field, problem) from error
    if name not in agent.publishes:
        declared = ", ".join(agent.publishes) or "nothing"
        raise InvalidOutput(agent.name, field, f"{name!r} is posted, but `publishes` declares {declared}")
    return name, version


def _with_time(usage: Usage, busy_ms: int) -> Usage:
    return usage.model_copy(update={"busy_ms": busy_ms})


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
