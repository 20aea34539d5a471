"""`dspy.Parallel` within an `aforward`; and what a branch says of the whole task."""

from datetime import timedelta

import anyio
import dspy
import pytest

from agents import dspy_scope, permits
from blackboard.evolve import usage_of
from protocol.limits import PermitReply, PermitRequest, Portion
from tests.dspy.programs import AsyncCrowd, Crowd, attempt, echo, sent
from tests.support.fake_leader import FakeLeader
from tests.support.model_server import ModelServer, Reply

pytestmark = pytest.mark.anyio


class Blocking(Crowd):
    async def aforward(self, question: str) -> dspy.Prediction:
        return self.forward(question=question)


async def test_parallel_is_awaited_in_an_aforward_and_replayed(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    first = await attempt(AsyncCrowd(), {"question": "q"}, lm)
    assert (first.discovery.outcome, len(server.requests)) == ("done", 8)
    again = await attempt(AsyncCrowd(), {"question": "q"}, lm, first.steps)
    assert (again.outputs, len(server.requests)) == (first.outputs, 8)


async def test_of_its_branches_those_that_failed_are_asked_again(server: ModelServer, lm: dspy.LM) -> None:
    def failing(prompt: str) -> Reply:
        return Reply(status=500) if "q 3" in prompt or "q 6" in prompt else echo(prompt)

    server.otherwise = failing
    first = await attempt(AsyncCrowd(), {"question": "q"}, lm)
    assert (first.discovery.outcome, len(server.requests)) == ("failed", 8)
    server.requests.clear()
    server.otherwise = echo
    second = await attempt(AsyncCrowd(), {"question": "q"}, lm, first.steps)
    assert second.discovery.outcome == "done"
    assert sorted("q 3" in prompt for prompt in sent(server)) == [False, True]


async def test_parallel_that_stops_the_workers_loop_is_refused_and_not_waited_for_ever(
    server: ModelServer, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dspy_scope, "STANDSTILL_SECONDS", 0.2)
    server.otherwise = echo
    with anyio.fail_after(30):
        found = await attempt(Blocking(), {"question": "q"}, lm)
    assert found.discovery.failure is not None
    assert found.discovery.failure.kind == "bug"
    assert "dspy.asyncify(parallel)" in found.discovery.failure.message
    assert server.requests == []


async def test_a_limit_of_tokens_learns_what_each_call_took_and_of_a_replay_nothing(
    server: ModelServer, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Portion] = []

    def grant(_leader: FakeLeader, request: PermitRequest) -> PermitReply:
        said.extend(request.portions)
        granted = [one.model_copy(update={"granted": one.granted + one.wants}) for one in request.portions]
        return PermitReply(portions=tuple(granted))

    monkeypatch.setattr(FakeLeader, "limit_nothing", grant)
    server.otherwise = echo
    found = await attempt(AsyncCrowd(), {"question": "q"}, lm)
    usage = usage_of(found.steps)
    tokens_of_each = (usage.tokens_in + usage.tokens_out) / usage.model_calls
    assert usage.model_calls - 1 <= said[-1].calls <= usage.model_calls
    assert said[-1].tokens == said[-1].calls * tokens_of_each > 0
    said.clear()
    await attempt(AsyncCrowd(), {"question": "q"}, lm, found.steps)
    assert said == []


async def test_branches_that_must_wait_for_a_models_limit_pause_the_task(
    server: ModelServer, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(FakeLeader, "limit_nothing", lambda _self, _request: PermitReply())
    for program in (Crowd(count=12), AsyncCrowd(count=12)):
        found = await attempt(program, {"question": "q"}, lm)
        assert found.discovery.failure is not None
        assert found.discovery.failure.kind == "capacity"
        assert timedelta(seconds=found.discovery.failure.retry_after_seconds or 0) >= timedelta(seconds=1)
    assert server.requests == []
