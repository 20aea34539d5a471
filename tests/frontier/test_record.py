"""A choice goes on the record as it was made."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from blackboard.encoding import decode_choice, decode_event, encode_event, encode_row
from blackboard.events import Choice, TaskDispatched, Term

CHOICE = Choice(
    policy="adaptive",
    chosen=Term("d1", index=0.75, mean=0.5, visits=3, in_flight=1, bonus=0.25, prior=0.5, counted=5),
    runners_up=(Term("d2", index=0.25, mean=0.25, visits=0, in_flight=0),),
    open_directions=2,
    started=4,
    dispersion=0.5,
)
WRITTEN = (
    b'{"policy":"adaptive","chosen":{"direction":"d1","index":0.75,"mean":0.5,"visits":3,"in_flight":1,'
    b'"bonus":0.25,"prior":0.5,"counted":5},"runners_up":[{"direction":"d2","index":0.25,"mean":0.25,'
    b'"visits":0,"in_flight":0}],"open_directions":2,"started":4,"dispersion":0.5}'
)


def test_a_choice_is_written_compactly_and_read_back_equal() -> None:
    assert encode_row(CHOICE) == WRITTEN
    assert decode_choice(WRITTEN) == CHOICE


def test_a_dispatch_leaves_its_choice_to_a_row_of_its_own() -> None:
    event = TaskDispatched(
        at_ms=1, task="t1", direction="d1", agent="a", visit=4, attempt=1, token="x", choice=CHOICE
    )
    assert decode_event(encode_event(event)) == replace(event, choice=None)


def test_a_record_with_an_infinite_index_is_refused() -> None:
    with pytest.raises(ValidationError, match="index"):
        decode_choice(WRITTEN.replace(b'"index":0.75', b'"index":Infinity'))
