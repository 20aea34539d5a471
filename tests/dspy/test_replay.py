"""DSPy programs are replayed call by call, and do not know it."""

import json
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from agents.dspy_lm import journaled
from protocol.messages import Usage
from protocol.prices import Price, PriceTable
from tests.dspy.programs import Crowd, Twice, attempt, echo, sent
from tests.dspy.step_names import STEP_NAMES, names_of
from tests.support.model_server import ModelServer, Reply, fields

pytestmark = pytest.mark.anyio


def shortest(_args: object, prediction: dspy.Prediction) -> float:
    return 1 / (1 + len(prediction.answer))


async def calculator(expression: str) -> str:
    """Adds."""
    return str(sum(map(int, expression.split("+"))))


ROUNDS = [
    fields(next_thought="add", next_tool_name="calculator", next_tool_args={"expression": "1+2"}),
    fields(next_thought="done", next_tool_name="finish", next_tool_args={}),
    fields(reasoning="so", answer="3"),
]
PROGRAMS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "Predict": (lambda: dspy.Predict("question -> answer"), {"question": "q"}, []),
    "ChainOfThought": (lambda: dspy.ChainOfThought("question -> answer"), {"question": "q"}, []),
    "nested": (Twice, {"question": "q"}, []),
    "ReAct": (lambda: dspy.ReAct("question -> answer", tools=[calculator]), {"question": "q"}, ROUNDS),
    "BestOfN": (
        lambda: dspy.BestOfN(dspy.Predict("question -> answer"), N=4, reward_fn=shortest, threshold=1.0),
        {"question": "q"},
        [],
    ),
    "Refine": (
        lambda: dspy.Refine(dspy.Predict("question -> answer"), N=2, reward_fn=shortest, threshold=0.0),
        {"question": "q"},
        [],
    ),
    "MultiChainComparison": (
        lambda: dspy.MultiChainComparison("question -> answer", M=2),
        {
            "completions": [
                dspy.Prediction(rationale="r", answer="a"),
                dspy.Prediction(rationale="s", answer="b"),
            ],
            "question": "q",
        },
        [],
    ),
    "Parallel": (Crowd, {"question": "q"}, []),
    "in turn": (lambda: Crowd(threads=1), {"question": "q"}, []),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_full_journal_answers_every_call_of(name: str, server: ModelServer, lm: dspy.LM) -> None:
    program, inputs, script = PROGRAMS[name]
    server.otherwise, server.script = echo, [Reply(content) for content in script]
    first = await attempt(program(), inputs, lm)
    assert first.discovery.outcome == "done", first.discovery.failure
    assert names_of(first.steps) == STEP_NAMES[name]
    asked = len(server.requests)
    assert asked == sum(step.kind == "model" for step in first.steps) > 0
    second = await attempt(program(), inputs, lm, first.steps)
    assert second.discovery.outcome == "done", second.discovery.failure
    assert len(server.requests) == asked
    assert second.steps == []
    assert {key: str(value) for key, value in second.outputs.items()} == {
        key: str(value) for key, value in first.outputs.items()
    }


async def test_rlm_is_replayed_with_the_queries_of_its_code(server: ModelServer, lm: dspy.LM) -> None:
    def program() -> dspy.Module:
        return dspy.RLM("question -> answer", max_iters=3, interpreter_factory=dspy.LocalInterpreter)

    code = "parts = llm_query_batched(['one', 'two'])\nSUBMIT(answer=llm_query(' '.join(sorted(parts))))"

    def play(prompt: str) -> Reply:
        if "## code ##" in prompt:
            return Reply(fields(reasoning="r", code=f"```python\n{code}\n```"))
        return Reply(f"<{prompt}>")

    server.otherwise = play
    first = await attempt(program(), {"question": "q"}, lm)
    assert first.discovery.outcome == "done", first.discovery.failure
    assert first.outputs["answer"] == "<<one> <two>>"
    assert names_of(first.steps) == STEP_NAMES["RLM"]
    assert len(server.requests) == 4
    second = await attempt(program(), {"question": "q"}, lm, first.steps)
    assert second.outputs["answer"] == first.outputs["answer"]
    assert len(server.requests) == 4


async def test_only_what_is_missing_is_asked_for(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    first = await attempt(Twice(), {"question": "q"}, lm)
    second = await attempt(Twice(), {"question": "q"}, lm, first.steps[:1])
    assert len(server.requests) == 3
    assert second.outputs == first.outputs


async def test_of_eight_branches_of_which_two_failed_exactly_those_are_asked_again(
    server: ModelServer, lm: dspy.LM
) -> None:
    def failing(prompt: str) -> Reply:
        return Reply(status=500) if "q 3" in prompt or "q 6" in prompt else echo(prompt)

    server.otherwise = failing
    first = await attempt(Crowd(), {"question": "q"}, lm)
    assert first.discovery.outcome == "failed"
    assert len(server.requests) == 8
    server.requests.clear()
    server.otherwise = echo
    second = await attempt(Crowd(), {"question": "q"}, lm, first.steps)
    assert second.discovery.outcome == "done"
    assert len(second.outputs["answers"]) == 8
    assert sorted("q 3" in prompt for prompt in sent(server)) == [False, True]
    assert all("q 3" in prompt or "q 6" in prompt for prompt in sent(server))


async def test_of_eight_samples_of_which_two_failed_exactly_those_are_drawn_again(
    server: ModelServer, lm: dspy.LM
) -> None:
    def program() -> dspy.Module:
        return dspy.BestOfN(dspy.Predict("question -> answer"), N=8, reward_fn=shortest, threshold=2.0)

    good = [Reply(fields(answer="a" * number)) for number in range(1, 9)]
    server.script = [*good[:2], Reply(status=500), *good[3:5], Reply(status=500), *good[6:]]
    first = await attempt(program(), {"question": "q"}, lm)
    assert len(server.requests) == 8
    server.script = [Reply(fields(answer="")), Reply(fields(answer="aaaa"))]
    second = await attempt(program(), {"question": "q"}, lm, first.steps)
    assert len(server.requests) == 10
    assert second.outputs["answer"] == ""
    assert not any(step.kind == "divergence" for step in second.steps)


async def test_identical_samples_at_once_are_told_apart_by_number(server: ModelServer, lm: dspy.LM) -> None:
    class Samples(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer", temperature=1.0)

        def forward(self, question: str) -> dspy.Prediction:
            parallel = dspy.Parallel(num_threads=4, disable_progress_bar=True)
            found = parallel([(self.ask, {"question": question})] * 4)
            return dspy.Prediction(answers=sorted(one.answer for one in found))

    server.script = [Reply(fields(answer=letter)) for letter in "abcd"]
    first = await attempt(Samples(), {"question": "q"}, lm)
    assert first.outputs["answers"] == ["a", "b", "c", "d"]
    server.script = [Reply(fields(answer="e"))]
    second = await attempt(Samples(), {"question": "q"}, lm, first.steps[:3])
    assert len(server.requests) == 5
    assert len(set(second.outputs["answers"])) == 4


async def test_a_parse_failure_is_retried_by_dspy_and_both_calls_are_steps(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.script = [Reply("I would rather not."), Reply('{"answer": "42"}')]
    first = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, lm)
    assert first.outputs == {"answer": "42"}
    assert [step.kind for step in first.steps] == ["model", "model"]
    second = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, lm, first.steps)
    assert second.outputs == {"answer": "42"}
    assert len(server.requests) == 2


async def test_a_reply_that_nobody_can_parse_is_set_aside_when_it_is_met_again_and_asked_for_anew(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.script = [Reply("I would rather not."), Reply("No."), Reply('{"answer": "42"}')]
    program = dspy.Predict("question -> answer")
    first = await attempt(program, {"question": "q"}, lm)
    again = await attempt(program, {"question": "q"}, lm, first.steps)
    assert [found.discovery.failure.kind for found in (first, again)] == ["transient", "transient"]
    assert [step.kind for step in (*first.steps, *again.steps)] == ["model", "model", "divergence"]
    assert len(server.requests) == 2
    third = await attempt(program, {"question": "q"}, lm, first.steps + again.steps)
    assert (third.outputs, len(server.requests)) == ({"answer": "42"}, 3)
    fourth = await attempt(program, {"question": "q"}, lm, first.steps + again.steps + third.steps)
    assert (fourth.outputs, fourth.steps, len(server.requests)) == ({"answer": "42"}, [], 3)


async def test_half_a_character_in_a_reply_is_neither_lost_work_nor_another_request(
    server: ModelServer, lm: dspy.LM
) -> None:
    torn = json.loads(fields(answer="42").join(('"', '"')).replace("\n", "\\n").replace("42", "\\ud83d"))
    server.script = [Reply(torn), Reply(fields(reasoning="r", verdict="v"))]
    first = await attempt(Twice(), {"question": "q"}, lm)
    assert first.discovery.outcome == "done", first.discovery.failure
    second = await attempt(Twice(), {"question": "q"}, lm, first.steps)
    assert (second.outputs, len(server.requests)) == (first.outputs, 2)


async def test_a_bill_that_cannot_be_is_not_believed_and_the_reply_counts(
    server: ModelServer, lm: dspy.LM
) -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": 7, "total_tokens": 18}
    choice = {"index": 0, "message": {"role": "assistant", "content": fields(answer="42")}}
    server.script = [Reply(raw=json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())]
    found = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, lm)
    assert found.outputs == {"answer": "42"}
    assert [(step.usage.tokens_in, step.usage.tokens_out) for step in found.steps] == [(0, 7)]


async def test_temperature_and_rollout_id_make_another_request(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    digests = set()
    for options in ({}, {"temperature": 0.5}, {"temperature": 1.0, "rollout_id": 1}):
        module = dspy.Predict("question -> answer")
        found = await attempt(module, {"question": "q", "config": options}, lm)
        digests.update(step.request for step in found.steps)
    assert len(digests) == 3
    assert server.requests[1]["temperature"] == 0.5
    assert "rollout_id" not in server.requests[2]


async def test_keys_addresses_and_timeouts_are_not_in_the_journal(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    first = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, lm)
    text = json.dumps([step.model_dump(mode="json") for step in first.steps])
    assert "secret" not in text
    assert server.url not in text
    moved = lm.copy(api_base="http://127.0.0.1:9/v1", api_key="other", timeout=1)
    second = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, moved, first.steps)
    assert second.outputs == first.outputs


async def test_a_prompt_that_was_too_long_is_not_sent_again(server: ModelServer, lm: dspy.LM) -> None:
    error = {"error": {"message": "maximum context length", "code": "context_length_exceeded"}}
    too_long = Reply(status=400, raw=json.dumps(error).encode())
    server.script = [Reply(ROUNDS[0]), Reply(ROUNDS[0]), too_long, *map(Reply, ROUNDS[1:])]

    def program() -> dspy.Module:
        return dspy.ReAct("question -> answer", tools=[calculator])

    first = await attempt(program(), {"question": "q"}, lm)
    assert first.outputs["answer"] == "3"
    asked = len(server.requests)
    second = await attempt(program(), {"question": "q"}, lm, first.steps)
    assert second.outputs["answer"] == "3"
    assert len(server.requests) == asked


async def test_each_step_says_what_it_has_cost_and_a_replay_what_it_saved(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.otherwise = echo
    first = await attempt(Twice(), {"question": "q"}, lm)
    usage = Usage(model_calls=1, tokens_in=11, tokens_out=7, tokens_cached=5, cost_microdollars=None)
    assert [step.usage for step in first.steps] == [usage, usage]
    assert first.discovery.usage.model_calls == 0
    second = await attempt(Twice(), {"question": "q"}, lm, first.steps)
    assert [one.usage for one in second.replayed] == [usage, usage]


async def test_a_modules_own_model_is_journaled_too(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    own = Twice()
    own.second.set_lm(lm.copy(model="openai/other"))
    first = await attempt(own, {"question": "q"}, lm)
    assert [request["model"] for request in server.requests] == ["scripted", "other"]
    await attempt(own, {"question": "q"}, lm, first.steps)
    assert len(server.requests) == 2


async def test_a_journaled_model_is_what_it_was_and_outside_of_a_task_does_what_it_did(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.otherwise = lambda prompt: Reply(f"echo {prompt}")
    same = journaled(lm)
    assert isinstance(same, dspy.LM)
    assert journaled(same) is same
    assert same.dump_state() | {"_dspy_lm_class": ""} == lm.dump_state() | {"_dspy_lm_class": ""}
    assert same("hello") == lm("hello") == ["echo hello"]
    assert await same.acall("again") == ["echo again"]


async def test_any_model_of_dspy_can_be_journaled() -> None:
    dummy = DummyLM([{"answer": "red"}, {"answer": "blue"}])
    first = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, dummy)
    assert first.outputs == {"answer": "red"}
    second = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, dummy, first.steps)
    assert second.outputs == {"answer": "red"}


async def test_a_synchronous_call_in_the_workers_loop_is_refused_and_not_waited_for_ever(
    server: ModelServer, lm: dspy.LM
) -> None:
    class Blocking(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        async def aforward(self, question: str) -> dspy.Prediction:
            return self.ask(question=question)

    found = await attempt(Blocking(), {"question": "q"}, lm)
    assert found.discovery.failure is not None
    assert "leave out `aforward`" in found.discovery.failure.message
    assert server.requests == []


async def test_the_cost_is_known_where_dspy_knows_the_price(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    priced = lm.copy(model="openai/gpt-4o")
    found = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, priced)
    (step,) = found.steps
    assert step.usage.cost_microdollars is not None
    assert 0 < step.usage.cost_microdollars < 100


async def test_a_price_of_the_table_wins_over_what_dspy_knows(server: ModelServer, lm: dspy.LM) -> None:
    server.otherwise = echo
    prices = PriceTable({"openai/gpt-4o-mini": Price(input=100, output=1_000, cached=10)})
    priced = lm.copy(model="openai/gpt-4o-mini")
    found = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, priced, prices=prices)
    (step,) = found.steps
    assert step.usage.cost_microdollars == 6 * 100 + 5 * 10 + 7 * 1_000


async def test_the_cost_of_a_model_that_nobody_knows_is_unknown_and_not_0(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.otherwise = echo
    found = await attempt(dspy.Predict("question -> answer"), {"question": "q"}, lm)
    (step,) = found.steps
    assert step.usage.cost_microdollars is None
