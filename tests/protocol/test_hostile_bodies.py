"""Hostile bodies are refused with an error that helps, before they cost time or memory."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from protocol.codec import MESSAGE_BYTES, decode, decode_as, encode
from protocol.errors import InvalidMessage, MessageTooLarge, UnsupportedVersion
from protocol.messages import ClaimReply, Lease, Record, SwarmDiscovery, SwarmResponse, SwarmTask
from protocol.strict_json import DEPTH_LIMIT, HANDED_OUT, VALUES_LIMIT

ROOT = Path(__file__).parents[2]
SECONDS = 0.05
PARSES = 10
"""On a slow or busy core a refusal may take as long as so many bare parses of the same bytes."""
BYTES = 32 * 1024 * 1024

TASK: dict[str, object] = {
    "run": "r",
    "task": "t",
    "attempt": 1,
    "token": "k",
    "agent": "explore",
    "direction": "d",
}
DISCOVERY: dict[str, object] = {"run": "r", "task": "t", "token": "k", "worker": "w", "incarnation": "i"}
HEARTBEAT: dict[str, object] = {"worker": "w", "incarnation": "i"}


def message(kind: str = "swarm.task", body: object = None, **head: object) -> bytes:
    envelope = {"id": "m", "type": kind, "version": "1.0", "source": "w", "time_ms": 1, "body": body or TASK}
    return json.dumps(envelope | head).encode()


def task(**fields: object) -> bytes:
    return message(body=TASK | fields)


def discovery(**fields: object) -> bytes:
    return message("swarm.discovery", DISCOVERY | fields)


def heartbeat(**fields: object) -> bytes:
    return message("swarm.heartbeat", HEARTBEAT | fields)


def raw(value: bytes) -> bytes:
    """A good task with an unknown field of exactly these bytes: what models ignore is checked as well."""
    return message()[:-1] + b', "x": ' + value + b"}"


def raw_in_payload(value: bytes) -> bytes:
    return discovery(artifacts=[{"type": "a", "payload": "@"}]).replace(b'"@"', value)


def without(name: str, data: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if key != name}


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    # What is not JSON, or not an object.
    "nothing": (lambda: b"", "message: the body is empty"),
    "blanks": (lambda: b" \n\t ", "not JSON"),
    "a byte order mark": (lambda: b"\xef\xbb\xbf" + message(), "not JSON"),
    "UTF-16": (lambda: message().decode().encode("utf-16"), "not JSON"),
    "trailing garbage": (lambda: message() + b"x", "trailing characters"),
    "two objects": (lambda: message() * 2, "trailing characters"),
    "cut off in the middle": (lambda: message()[:-20], "not JSON"),
    "a trailing comma": (lambda: message()[:-1] + b",}", "trailing comma"),
    "a comment": (lambda: b"/* hello */" + message(), "not JSON"),
    "single quotes": (lambda: message().replace(b'"', b"'"), "not JSON"),
    "Python's repr": (lambda: repr(json.loads(message())).encode(), "not JSON"),
    "random bytes": (lambda: bytes(range(256)) * 100, "not JSON"),
    "a pickle": (lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94.", "not JSON"),
    "a million NULs": (lambda: b"\x00" * 1_000_000, "not JSON"),
    "an array": (lambda: b"[" + message() + b"]", "the top level is no object"),
    "null": (lambda: b"null", "the top level is no object"),
    "a string": (lambda: b'"hello"', "the top level is no object"),
    "a number": (lambda: b"7", "the top level is no object"),
    # Numbers.
    "NaN": (lambda: raw(b"NaN"), "not JSON"),
    "Infinity": (lambda: raw(b"Infinity"), "not JSON"),
    "-Infinity": (lambda: raw(b"-Infinity"), "not JSON"),
    "NaN as a reward": (lambda: discovery(reward=float("nan")), "not JSON"),
    "1e400": (lambda: raw(b"1e400"), "x: the number is beyond a double"),
    "-1e400 in a payload": (
        lambda: raw_in_payload(b'{"y": [1, -1e400]}'),
        "body.artifacts.0.payload.y.1: the number is beyond a double",
    ),
    "an exponent of a million digits": (lambda: raw(b"1e" + b"9" * 1_000_000), "beyond a double"),
    "an integer of a million digits": (lambda: raw(b"9" * 1_000_000), "not JSON: number out of range"),
    "many integers of 4,000 digits": (
        lambda: raw(b"[" + b",".join([b"9" * 4_000] * 250) + b"]"),
        "x.0: the integer is beyond 64 bits",
    ),
    "2 to the 63rd": (
        lambda: raw_in_payload(b"9223372036854775808"),
        "payload: the integer is beyond 64 bits",
    ),
    "below minus 2 to the 63rd": (lambda: raw(b"-9223372036854775809"), "x: the integer is beyond 64 bits"),
    "a leading zero": (lambda: raw(b"007"), "not JSON"),
    "hexadecimal": (lambda: raw(b"0x10"), "not JSON"),
    # Structure.
    "arrays 100,000 deep": (lambda: raw(nested(100_000)), "more than 65,536 values"),
    "arrays 60,000 deep": (lambda: raw(nested(60_000)), "not JSON: recursion limit exceeded"),
    "objects 20,000 deep": (
        lambda: raw(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        "recursion limit exceeded",
    ),
    "arrays one too deep": (lambda: raw(nested(DEPTH_LIMIT)), f"nested deeper than {DEPTH_LIMIT} levels"),
    "open arrays without end": (lambda: b"[" * 1_000_000, "more than 65,536 values"),
    "a million keys": (
        lambda: raw(b"{" + b",".join(b'"%d":0' % number for number in range(1_000_000)) + b"}"),
        "bytes are more than the limit",
    ),
    "90,000 keys": (
        lambda: raw(b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}"),
        "more than 65,536 values",
    ),
    "300,000 empty objects": (
        lambda: raw(b"[" + b",".join([b"{}"] * 300_000) + b"]"),
        "more than 65,536 values",
    ),
    "140,000 small objects": (
        lambda: raw(b"[" + b",".join([b'{"":0}'] * 140_000) + b"]"),
        "more than 65,536 values",
    ),
    "300,000 short strings": (
        lambda: raw(b"[" + b",".join([b'""'] * 300_000) + b"]"),
        "more than 65,536 values",
    ),
    "60,000 wrong ids": (lambda: task(inputs=[0] * 60_000), "body.inputs.0"),
    "20,000 empty artifacts": (lambda: discovery(artifacts=[{}] * 20_000), "body.artifacts.0"),
    "30,000 wrong counts": (
        lambda: message(
            "swarm.demand",
            {"coordinator": "c", "run": "r", "wanted": dict.fromkeys(map(str, range(30_000)), -1)},
        ),
        "body.wanted.0",
    ),
    "a string of 10 MB": (lambda: raw(b'"' + b"a" * 10_000_000 + b'"'), "bytes are more than the limit"),
    "a topic of a million letters": (lambda: task(topic="a" * 1_000_000), "body.topic"),
    "10 MB of blanks": (lambda: b" " * 10_000_000 + message(), "bytes are more than the limit"),
    "a million blanks and nothing else": (lambda: b" " * 1_000_000, "not JSON"),
    # Repeated keys.
    "type twice": (lambda: message()[:-1] + b', "type": "error"}', "type: the key is repeated"),
    "body twice": (lambda: message()[:-1] + b', "body": {}}', "body: the key is repeated"),
    "token twice": (
        lambda: message().replace(b'"token": "k"', b'"token": "k", "token": "z"'),
        "body.token: the key is repeated",
    ),
    "a repeated key deep in a payload": (
        lambda: raw_in_payload(b'[[{"a": {"b": 1, "c": 2, "b": 3}}]]'),
        "body.artifacts.0.payload.0.0.a.b: the key is repeated",
    ),
    "a repeated key in an ignored field": (lambda: raw(b'{"a":1,"a":1}'), "x.a: the key is repeated"),
    "a repeated key in disguise": (lambda: raw(b'{"a":1,"\\u0061":1}'), "x.a: the key is repeated"),
    "a repeated key with blanks before its colon": (
        lambda: raw(b'{"a" \n:1,"a"\t:1}'),
        "x.a: the key is repeated",
    ),
    "a repeated key behind strings that look like keys": (
        lambda: raw(b'{"a":":\\":","a":"\\u0022\\u003a"}'),
        "x.a: the key is repeated",
    ),
    "30,000 objects and one repeated key": (
        lambda: raw(b"[" + b",".join([b'{"":0}'] * 30_000) + b',{"a":1,"a":2}]'),
        "x.30000.a: the key is repeated",
    ),
    # Text.
    "a lone leading surrogate": (lambda: raw(b'"\\ud800"'), "not JSON"),
    "a lone trailing surrogate": (lambda: raw(b'"\\udc00"'), "not JSON"),
    "surrogates the wrong way round": (lambda: raw(b'"\\udc00\\ud800"'), "not JSON"),
    "a surrogate as three bytes": (lambda: raw(b'"\xed\xa0\x80"'), "not JSON"),
    "an overlong encoding": (lambda: raw(b'"\xc0\xaf"'), "not JSON"),
    "Latin-1": (lambda: raw('"é"'.encode("latin-1")), "not JSON"),
    "a cut-off character": (lambda: raw(b'"\xe2\x82"'), "not JSON"),
    "beyond Unicode": (lambda: raw(b'"\xf4\x90\x80\x80"'), "not JSON"),
    "a raw NUL in a string": (lambda: raw(b'"a\x00b"'), "control character"),
    "a raw newline in a string": (lambda: raw(b'"a\nb"'), "control character"),
    "an unknown escape": (lambda: raw(b'"\\x41"'), "not JSON"),
    # Versions and types.
    "version 2.0": (lambda: message(version="2.0"), "version '2.0' is not supported"),
    "version 0.9": (lambda: message(version="0.9"), "version '0.9' is not supported"),
    "version 99999.0": (lambda: message(version="9" * 100_000 + ".0"), "is not supported"),
    "an empty version": (lambda: message(version=""), "version: '' is not MAJOR.MINOR"),
    "version x": (lambda: message(version="x"), "version: 'x' is not MAJOR.MINOR"),
    "version 1": (lambda: message(version="1"), "version: '1' is not MAJOR.MINOR"),
    "version 1.x": (lambda: message(version="1.x"), "is not MAJOR.MINOR"),
    "version in Arabic digits": (lambda: message(version="١.٠"), "is not MAJOR.MINOR"),
    "version null": (lambda: message(version=None), "version: null is no version"),
    "version as a number": (lambda: message(version=1.0), "version: a value of type float is no version"),
    "no version": (lambda: message().replace(b'"version": "1.0", ', b""), "version: null is no version"),
    "an unknown type": (lambda: message("swarm.tasks"), "type: 'swarm.tasks' is no message"),
    "a type with control characters": (lambda: message("a\x1b[2J\n"), "type: "),
    "a type of 500 KB": (lambda: message("a" * 500_000), "type: "),
    "type null": (lambda: message(type=None), "type: null is no message"),
    "type as a list": (lambda: message(type=["swarm.task"]), "type: a value of type list is no message"),
    "no type": (lambda: b'{"version": "1.0"}', "type: null is no message"),
    "an empty object": (lambda: b"{}", "version: null is no version"),
    # The head.
    "no id": (lambda: message().replace(b'"id": "m", ', b""), "id: Field required; add the field"),
    "no body": (
        lambda: json.dumps(
            {"id": "m", "type": "swarm.task", "version": "1.0", "source": "w", "time_ms": 1}
        ).encode(),
        "body: Field required",
    ),
    "a body that is text": (lambda: message(body=json.dumps(TASK)), "body: "),
    "a body that is a list": (lambda: message(body=[1]), "body: "),
    "a source with a dot": (lambda: message(source="a.b"), "source: "),
    "no source": (lambda: message(source=""), "source: "),
    "a target that is a wildcard": (lambda: message(target=">"), "target: "),
    "a negative time": (lambda: message(time_ms=-1), "time_ms: "),
    "a time as text": (lambda: message(time_ms="1"), "time_ms: "),
    "a traceparent with a newline": (
        lambda: message(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01\n"),
        "traceparent: ",
    ),
    "a correlation id with spaces": (lambda: message(correlation_id="a b"), "correlation_id: "),
    # Bodies.
    "an id with a dot": (lambda: task(run="a.b"), "body.run: "),
    "an id with a space": (lambda: task(run="a b"), "body.run: "),
    "an id that is *": (lambda: task(task="*"), "body.task: "),
    "an id that is >": (lambda: task(agent=">"), "body.agent: "),
    "an id with a newline at its end": (lambda: task(agent="explore\n"), "body.agent: "),
    "an id with a NUL": (lambda: task(token="k\x00"), "body.token: "),
    "an id with a colon": (lambda: task(token="a:b"), "body.token: "),
    "an empty id": (lambda: task(direction=""), "body.direction: "),
    "an id of 65 letters": (lambda: task(direction="a" * 65), "body.direction: "),
    "an id with a letter that looks like another": (lambda: task(run="rún"), "body.run: "),
    "an id in fullwidth letters": (lambda: task(run="ｒ"), "body.run: "),
    "an id as a number": (lambda: task(run=7), "body.run: "),
    "a missing token": (
        lambda: message(body=without("token", TASK)),
        "body.token: Field required; add the field",
    ),
    "attempt 0": (lambda: task(attempt=0), "body.attempt: "),
    "attempt as text": (lambda: task(attempt="1"), "body.attempt: "),
    "attempt as a boolean": (lambda: task(attempt=True), "body.attempt: "),
    "attempt 1.5": (lambda: task(attempt=1.5), "body.attempt: "),
    "a reward of 1.1": (lambda: discovery(reward=1.1), "body.reward: "),
    "a reward of -0.1": (lambda: discovery(reward=-0.1), "body.reward: "),
    "a reward as text": (lambda: discovery(reward="0.5"), "body.reward: "),
    "a reward of null": (lambda: discovery(reward=None), "body.reward: "),
    "an unknown outcome": (lambda: discovery(outcome="won"), "body.outcome: "),
    "negative tokens": (lambda: discovery(usage={"tokens_in": -1}), "body.usage.tokens_in: "),
    "a count beyond 2 to the 53rd": (lambda: discovery(free_slots=2**53 + 1), "body.free_slots: "),
    "a digest in capitals": (
        lambda: discovery(body={"digest": "A" * 64, "size_bytes": 1}),
        "body.body.digest: ",
    ),
    "artifacts as an object": (lambda: discovery(artifacts={"0": {}}), "body.artifacts: "),
    "33 tags": (lambda: discovery(artifacts=[{"type": "a", "tags": ["t"] * 33}]), "body.artifacts.0.tags: "),
    "an unknown status": (lambda: heartbeat(status="dead"), "body.status: "),
    "an infinite load": (lambda: heartbeat(load=float("inf")), "not JSON"),
    "a negative load": (lambda: heartbeat(load=-1.0), "body.load: "),
    "a held lease without a token": (
        lambda: heartbeat(held=[{"task": "t", "run": "r"}]),
        "body.held.0.token: ",
    ),
}


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def parse(data: bytes) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_quickly_and_says_why(name: str) -> None:
    build, expected = HOSTILE[name]
    data = build()
    with pytest.raises(InvalidMessage) as caught:
        decode(data)
    assert expected in str(caught.value)
    assert caught.value.remedy
    assert len(str(caught.value)) < 1_000
    assert str(caught.value).isprintable()

    def refuse() -> None:
        with pytest.raises(InvalidMessage):
            decode(data)

    assert any(
        cpu_seconds(refuse) < max(SECONDS, PARSES * cpu_seconds(lambda: parse(data))) for _ in range(3)
    )


def peak_growth() -> dict[str, int]:
    """For each body, by how many bytes the process grew at most while it refused it."""
    status = Path("/proc/self/status")

    def kilobytes(field: str) -> int:
        return int(
            next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1]
        )

    grown: dict[str, int] = {}
    for name, (build, _) in HOSTILE.items():
        data = build()
        Path("/proc/self/clear_refs").write_text("5")
        before = kilobytes("VmRSS")
        with pytest.raises(InvalidMessage):
            decode(data)
        grown[name] = (kilobytes("VmHWM") - before) * 1024
    return grown


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_hostile_bodies_take_little_memory() -> None:
    script = "import json, tests.protocol.test_hostile_bodies as t; print(json.dumps(t.peak_growth()))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    grown: dict[str, int] = json.loads(run.stdout)
    assert len(grown) == len(HOSTILE)
    assert {name: size for name, size in grown.items() if size > BYTES} == {}


def test_there_are_many_hostile_bodies() -> None:
    assert len(HOSTILE) >= 45


def test_a_callers_limit_is_checked_before_the_bytes_are_read() -> None:
    with pytest.raises(MessageTooLarge, match="101 bytes are more than the limit of 100"):
        decode(b"x" * 101, limit_bytes=100)
    with pytest.raises(MessageTooLarge):
        decode(b"x" * (MESSAGE_BYTES + 1))


def test_an_unknown_major_version_has_its_own_error() -> None:
    with pytest.raises(UnsupportedVersion, match="reads major versions 1; upgrade the older side"):
        decode(message(version="2.0"))


def test_a_newer_minor_version_and_its_fields_are_accepted() -> None:
    envelope = decode(message(version="1.7", body=TASK | {"colour": "red"}, shade="dark"))
    assert envelope.body == SwarmTask.model_validate(TASK)


def test_another_type_than_the_expected_one_is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"'swarm.task' is not expected here; send 'board.claim.reply'"):
        decode_as(message(), ClaimReply)


def test_the_first_problem_is_named_and_the_others_are_counted() -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode(task(run="a.b", attempt=0, deadline_ms=-1))
    assert caught.value.field == "body.run"
    assert "(and 2 more)" in caught.value.problem


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (b'{"a": {"b": 1}, "b": {"a": 1}}', {"a": {"b": 1}, "b": {"a": 1}}),
        (b'":"', ":"),
        (b'{":": "\\":", "\\"": " : "}', {":": '":', '"': " : "}),
        (b'"\\ud83d\\ude00\\u0000"', "\U0001f600\0"),
        (b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        (b"1e308", 1e308),
        (b"1e-400", 0.0),
        (nested(DEPTH_LIMIT - 5), None),
    ],
)
def test_what_only_looks_hostile_is_accepted(value: bytes, meaning: object) -> None:
    payload = decode(raw_in_payload(value)).body.artifacts[0].payload
    assert meaning is None or payload == meaning


def test_text_full_of_punctuation_counts_as_one_value() -> None:
    text = ',[{"' * VALUES_LIMIT
    assert decode(discovery(artifacts=[{"type": "a", "payload": text}])).body.artifacts[0].payload == text


def test_what_was_taken_in_can_be_handed_out_together_and_further_down() -> None:
    deep = json.loads(nested(DEPTH_LIMIT - 4))
    wide = [0] * (VALUES_LIMIT // 2)
    taken = [decode(discovery(artifacts=[{"type": "a", "payload": one}])).body for one in (deep, wide, wide)]
    steps = [{"kind": "pure", "path": "p", "value": {"value": one.artifacts[0].payload}} for one in taken]
    grant = {"task": "t", "token": "k", "number": 1, "run": "r", "attempt": 1, "agent": "a"}
    grant |= {"direction": "d", "visit": 1}
    reply = ClaimReply.model_validate({"grants": [{**grant, "steps": steps}]})
    data = encode(reply, source="c", message_id="m", time_ms=1)
    assert decode_as(data, ClaimReply, bounds=HANDED_OUT) == reply
    with pytest.raises(InvalidMessage):
        decode_as(data, ClaimReply)


def test_a_model_without_a_wire_name_is_not_sent() -> None:
    with pytest.raises(InvalidMessage, match="Record does not travel on its own"):
        encode(Record(), source="w", message_id="m", time_ms=1)


@pytest.mark.parametrize("answer", ["\ud800", {"\udfff": 1}, ["a", "\ud800"]])
def test_text_that_has_no_bytes_is_not_sent(answer: JsonValue) -> None:
    body = SwarmResponse(run="r", inquiry="i", answerer="a", answer=answer)
    with pytest.raises(InvalidMessage, match="send JSON values and text without lone surrogates"):
        encode(body, source="w", message_id="m", time_ms=1)


@pytest.mark.parametrize("head", [{"source": "a.b"}, {"message_id": ""}, {"time_ms": -1}, {"target": ">"}])
def test_a_head_that_would_be_refused_is_not_sent(head: dict[str, object]) -> None:
    body = SwarmDiscovery.model_validate(DISCOVERY)
    with pytest.raises(InvalidMessage):
        encode(body, **{"source": "w", "message_id": "m", "time_ms": 1} | head)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [*Record.__subclasses__(), *Lease.__subclasses__()])
@pytest.mark.parametrize("items", [[[]] * 9, {key: [] for key in "abcdefghi"}], ids=["array", "object"])
def test_a_collection_of_bad_items_does_not_complain_about_each(model: type[Record], items: object) -> None:
    for field in model.model_fields if model.__module__ == Record.__module__ else ():
        places = complaints(model, json.dumps({field: items}))
        assert len({place[:2] for place in places if place[0] == field}) < 9, field


def complaints(model: type[Record], data: str) -> list[tuple[str | int, ...]]:
    try:
        model.model_validate_json(data, strict=True)
    except ValidationError as error:
        return [complaint["loc"] for complaint in error.errors()]
    return []
