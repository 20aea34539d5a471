"""What is encoded is decoded to the same, for every message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MODELS, VERSION, decode, decode_as, encode
from protocol.messages import (
    ArtifactDraft,
    BodyRef,
    Failure,
    FollowUp,
    Held,
    Record,
    SwarmDiscoveries,
    SwarmDiscovery,
    SwarmHeartbeat,
    SwarmInquiry,
    SwarmResponse,
    SwarmTask,
    Usage,
    Wait,
)

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
counts = st.integers(0, 2**53)
units = st.floats(0, 1)
texts = st.text(st.characters(codec="utf-8"), max_size=60)
payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def some(items: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=3).map(tuple)


usages = st.builds(
    Usage,
    model_calls=counts,
    tool_calls=counts,
    tokens_in=counts,
    tokens_out=counts,
    cost_microdollars=st.none() | counts,
    busy_ms=counts,
)
bodies = st.builds(BodyRef, digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True), size_bytes=counts)
failures = st.builds(
    Failure,
    kind=st.sampled_from(["user", "capacity", "transient", "bug"]),
    message=texts,
    traceback=texts,
    retry_after_seconds=st.none() | st.floats(0, 86_400),
)
drafts = st.builds(
    ArtifactDraft,
    type=ids,
    version=st.integers(1, 9),
    key=st.none() | texts.filter(bool),
    payload=payloads,
    body=st.none() | bodies,
    tags=some(texts.filter(bool)),
    visibility=some(ids),
    parents=some(ids),
    correlation=st.none() | ids,
    text=texts,
    expires_ms=st.none() | counts,
)
follow_ups = st.builds(
    FollowUp,
    agent=ids,
    topic=texts,
    inputs=some(ids),
    prior=st.none() | units,
    max_visits=st.none() | st.integers(1, 9),
)
waits = st.builds(
    Wait,
    kind=st.sampled_from(["agent", "human", "signal", "time"]),
    target=ids,
    path=texts.filter(bool),
    request=texts,
    occurrence=counts,
    question=texts,
    choices=some(texts),
    approves=st.none() | st.from_regex("[0-9a-f]{64}", fullmatch=True),
    timeout_ms=st.none() | counts,
    until_ms=st.none() | counts,
)
DISCOVERIES = st.builds(
    SwarmDiscovery,
    run=ids,
    task=ids,
    token=ids,
    worker=ids,
    incarnation=ids,
    outcome=st.sampled_from(["done", "failed", "released", "waiting"]),
    artifacts=some(drafts),
    reward=units,
    follow_ups=some(follow_ups),
    exhausted=st.booleans(),
    usage=usages,
    failure=st.none() | failures,
    waits=some(waits),
    free_slots=counts,
    body=st.none() | bodies,
)
FIVE: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        SwarmTask,
        run=ids,
        task=ids,
        attempt=st.integers(1, 99),
        token=ids,
        agent=ids,
        direction=ids,
        deadline_ms=st.none() | counts,
        topic=texts,
        inputs=some(ids),
    ),
    DISCOVERIES,
    st.builds(SwarmDiscoveries, discoveries=st.lists(DISCOVERIES, min_size=1, max_size=3).map(tuple)),
    st.builds(
        SwarmHeartbeat,
        worker=ids,
        incarnation=ids,
        status=st.sampled_from(["alive", "busy", "draining", "error"]),
        agents=some(ids),
        slots=counts,
        held=some(st.builds(Held, task=ids, token=ids, run=ids, progress=counts)),
        claims_through=counts,
        load=st.floats(0, 1e6),
        version=texts,
        sent_ms=counts,
    ),
    st.builds(
        SwarmInquiry,
        run=ids,
        inquiry=ids,
        asker=ids,
        task=ids,
        wait=waits,
        until_ms=st.none() | counts,
    ),
    st.builds(
        SwarmResponse,
        run=ids,
        inquiry=ids,
        answerer=ids,
        answer=payloads,
        failure=st.none() | failures,
        approves=st.none() | texts,
    ),
)


@given(FIVE, ids, ids, counts, st.none() | ids)
def test_a_message_comes_back_as_it_was_sent(
    message: Record, message_id: str, source: str, time_ms: int, correlation_id: str | None
) -> None:
    data = encode(
        message, source=source, message_id=message_id, time_ms=time_ms, correlation_id=correlation_id
    )
    envelope = decode(data)
    assert envelope.body == message
    assert (envelope.id, envelope.source, envelope.time_ms) == (message_id, source, time_ms)
    assert (envelope.version, envelope.target, envelope.correlation_id) == (VERSION, "", correlation_id)
    assert decode_as(data, type(message)) == message


@given(FIVE)
def test_the_format_of_the_json_does_not_matter(message: Record) -> None:
    data = encode(message, source="w", message_id="m", time_ms=1)
    spread = json.dumps(json.loads(data), indent=3, separators=(" ,", "\t: "), ensure_ascii=True)
    assert decode(spread.encode()).body == message


def test_the_head_carries_the_trace_and_the_target() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    wait = Wait(kind="agent", target="b", path="ask", question="why?")
    inquiry = SwarmInquiry(run="r", inquiry="i", asker="a", task="t", wait=wait)
    data = encode(inquiry, source="a", target="b", message_id="m", time_ms=1, traceparent=trace)
    envelope = decode(data)
    assert (envelope.target, envelope.traceparent) == ("b", trace)


@pytest.mark.parametrize("name", MODELS)
def test_wire_names_are_stable(name: str) -> None:
    assert name in {
        *("swarm.task", "swarm.discovery", "swarm.heartbeat", "swarm.inquiry", "swarm.response"),
        *("swarm.control", "swarm.dead", "swarm.demand", "error"),
        *("board.claim", "board.claim.reply", "board.record", "board.record.reply"),
        *("board.steps", "board.steps.reply", "board.put", "board.put.reply"),
        *("board.get", "board.get.reply", "board.query", "board.query.reply"),
        *("board.cancel", "board.cancel.reply", "board.answer", "board.answer.reply"),
        *("board.pause", "board.pause.reply", "board.retry", "board.retry.reply"),
        *("swarm.discoveries", "swarm.breakers", "board.provider", "board.provider.reply"),
        *("board.permits", "board.permits.reply"),
    }
