"""Messages that are made without checks are like those that are checked."""

from protocol.codec import decode_as, encode
from protocol.messages import ClaimReply, Grant, SwarmTask

VALUES = {"task": "t", "token": "x", "run": "r", "attempt": 1, "agent": "a", "direction": "d"}


def test_a_trusted_message_is_the_one_that_its_model_would_have_accepted() -> None:
    checked = SwarmTask.model_validate({**VALUES, "deadline_ms": None, "topic": "why", "inputs": ()})
    assert SwarmTask.trusted(**checked.__dict__) == checked
    assert hash(SwarmTask.trusted(**checked.__dict__)) == hash(checked)


def test_fields_that_are_not_given_travel_as_their_defaults() -> None:
    sent = Grant.trusted(**VALUES, number=1, visit=1, topic="why")
    data = encode(ClaimReply(grants=(sent,)), source="c", message_id="m", time_ms=1)
    (grant,) = decode_as(data, ClaimReply).grants
    assert grant == Grant.model_validate({**VALUES, "number": 1, "visit": 1, "topic": "why"})
