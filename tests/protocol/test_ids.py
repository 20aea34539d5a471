"""Ids sort by time where something is new, and meet where it is the same thing again."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import TOKEN_PATTERN, artifact_id, derive, direction_id, normalise_topic, task_id, uuid7

entropies = st.binary(min_size=10, max_size=16)
moments = st.integers(0, 2**48 - 1)
parts = st.lists(st.text(max_size=12), max_size=4).map(tuple)


@given(moments, entropies)
def test_a_new_id_is_a_uuid_of_version_7(now_ms: int, entropy: bytes) -> None:
    made = uuid.UUID(uuid7(now_ms, entropy))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == now_ms
    assert TOKEN_PATTERN.fullmatch(uuid7(now_ms, entropy))


@given(moments, moments, entropies, entropies)
def test_new_ids_sort_by_time(first: int, second: int, one: bytes, other: bytes) -> None:
    if first < second:
        assert uuid7(first, one) < uuid7(second, other)


@given(moments, entropies, entropies)
def test_ids_of_the_same_millisecond_differ_by_their_entropy(now_ms: int, one: bytes, other: bytes) -> None:
    fixed = 0xF0 << 72 | 0xC0 << 56
    random_bits = ~fixed & (1 << 80) - 1
    same = (int.from_bytes(one[:10], "big") ^ int.from_bytes(other[:10], "big")) & random_bits == 0
    assert (uuid7(now_ms, one) == uuid7(now_ms, other)) == same


@given(parts, parts)
def test_derived_ids_are_equal_exactly_when_their_parts_are(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert (derive("task", *one) == derive("task", *other)) == (one == other)


def test_part_boundaries_count() -> None:
    assert (
        len({derive("k", *split) for split in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"))})
        == 5
    )


def test_kinds_do_not_meet() -> None:
    assert task_id("r", "d", 1)[-24:] != artifact_id("r", "d", "1")[-24:]


@given(st.text(max_size=30), st.integers(1, 10**9))
def test_derived_ids_are_tokens_of_a_subject(text: str, visit: int) -> None:
    for made in (task_id(text, text, visit), artifact_id(text, text, text), direction_id("r", "a", text)):
        assert TOKEN_PATTERN.fullmatch(made)


def test_topics_that_say_the_same_meet() -> None:
    one = direction_id("r", "explore", "  How does\tCancellation\n spread? ", ("b", "a"))
    assert one == direction_id("r", "explore", "how does cancellation spread?", ("a", "b"))
    assert one != direction_id("r", "explore", "how does cancellation spread", ("a", "b"))
    assert one != direction_id("r", "verify", "how does cancellation spread?", ("a", "b"))


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(topic: str) -> None:
    once = normalise_topic(topic)
    assert " ".join(once.split()) == once
