"""A scripted model's server for every test, and DSPy's own model that speaks to it."""

from collections.abc import Iterator

import dspy
import pytest

from tests.support.model_server import ModelServer, running


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with running(ModelServer()) as scripted:
        yield scripted


@pytest.fixture
def lm(server: ModelServer) -> dspy.LM:
    return dspy.LM(
        "openai/scripted", api_base=server.url, api_key="secret", cache=False, num_retries=0, engine="lm15"
    )
