"""Streams: what a program hears of a call that is made, and of one that the journal answers."""

import dspy
import pytest
from dspy.streaming import StreamListener, StreamResponse

from protocol.messages import Usage
from tests.dspy.programs import attempt
from tests.support.model_server import ModelServer, Reply, fields

pytestmark = pytest.mark.anyio
ANSWER = "a rather long answer, in several parts"


class Streaming(dspy.Module):
    """Listens to the answer while it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")

    async def aforward(self, question: str) -> dspy.Prediction:
        listener = StreamListener(signature_field_name="answer")
        heard: list[str] = []
        async for item in dspy.streamify(self.ask, stream_listeners=[listener])(question=question):
            if isinstance(item, StreamResponse):
                heard.append(item.chunk)
            elif isinstance(item, dspy.Prediction):
                prediction = item
        return dspy.Prediction(answer=prediction.answer, heard=heard)


async def test_a_call_that_is_made_is_streamed_and_a_replayed_one_is_there_at_once(
    server: ModelServer, lm: dspy.LM
) -> None:
    server.script = [Reply(fields(answer=ANSWER))]
    first = await attempt(Streaming(), {"question": "q"}, lm)
    assert first.discovery.outcome == "done", first.discovery.failure
    assert server.requests[0]["stream"] is True
    assert len(first.outputs["heard"]) > 1
    assert "".join(first.outputs["heard"]).strip() == first.outputs["answer"] == ANSWER
    assert first.steps[0].usage == Usage(
        model_calls=1, tokens_in=11, tokens_out=7, tokens_cached=5, cost_microdollars=None
    )
    second = await attempt(Streaming(), {"question": "q"}, lm, first.steps)
    assert (second.outputs["answer"], second.outputs["heard"]) == (ANSWER, [])
    assert len(server.requests) == 1
