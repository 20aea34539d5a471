"""A model that judges by a fixed word, or by its opposite, changes no ranking; report and metrics say so."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.research import AGENTS
from agents.research.artifacts import Finding, Passage, Report
from tests.support.agent_context import Research
from tests.support.model_server import ModelServer, Reply, fields, running

BY_NAME = {agent.name: agent for agent in AGENTS}
QUESTION = "Which valve closes when the boiler pressure rises?"
WORDS = ("valve", "closes", "boiler", "pressure", "rises")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Fifty sections that hold one to five words of the question."""
    chance, folder = random.Random(3), tmp_path / "corpus"
    folder.mkdir()
    for number in range(50):
        said = " ".join(chance.sample(WORDS, 1 + number % 5))
        text = f"Note {number}\n\nOf part {number} one may say: {said}, in house {chance.randrange(10**6)}.\n"
        (folder / f"note{number:02}.md").write_text(text)
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("TESTS_API_KEY", "key-of-the-tests")
    with running(ModelServer()) as scripted:
        yield scripted


async def research(corpus: Path, cache: Path, server: ModelServer, judge: Callable[[str], float]) -> Research:
    """A run of six visits whose model quotes the whole of every passage, and judges it so."""

    def play(prompt: str) -> Reply:
        if "[[ ## outline ## ]]" in prompt:
            return Reply(fields(reasoning="r", directions=[" ".join(WORDS)]))
        if "[[ ## passages ## ]]" not in prompt:
            return Reply(fields(reasoning="r", sentences=[]))
        shown, _ = json.JSONDecoder().raw_decode(prompt.partition("[[ ## passages ## ]]\n")[2])
        judgements = [
            {"passage": number, "relevance": judge(text), "quote": text, "why": "so"}
            for number, text in enumerate(shown, 1)
        ]
        return Reply(fields(reasoning="r", judgements=judgements, follow_ups=[]))

    server.otherwise = play
    settings: dict[str, Any] = {
        "corpus": [str(corpus)],
        "cache": str(cache),
        "model": "openai/scripted",
        "api_base": server.url,
        "api_key_env": "TESTS_API_KEY",
    }
    run = Research(QUESTION, settings)
    await run.run(BY_NAME, 6)
    await run.report(BY_NAME["report"])
    return run


def of_the_question(text: str) -> float:
    return sum(word in text for word in WORDS) / len(WORDS)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("judge", "warning"),
    [
        (lambda _: 0.9, "judgements are the same"),
        (lambda text: 1.0 - of_the_question(text), "judgements run against what was verified"),
    ],
    ids=["constant", "inverted"],
)
async def test_a_judge_that_misleads_leaves_the_ranking_as_it_is_without_one(
    judge: Callable[[str], float], warning: str, corpus: Path, tmp_path: Path, server: ModelServer
) -> None:
    run = await research(corpus, tmp_path / "cache", server, judge)
    passages = [found.payload for found in run.board.of(Passage)]
    assert len(passages) >= 30
    assert all(passage.judgement is not None for passage in passages)
    assert [passage.relevance for passage in passages] == pytest.approx([one.fit for one in passages])
    (report,) = run.board.of(Report)
    (said,) = report.payload.warnings
    assert warning in said
    assert "change a reward by 0% at most" in said
    assert run.gauges == {"judge_trust": 0.0, "judge_problems": 1}
    assert f"**Warning**: {said}" in report.payload.markdown


@pytest.mark.anyio
async def test_a_judge_that_proves_right_is_believed_a_little(
    corpus: Path, tmp_path: Path, server: ModelServer
) -> None:
    run = await research(corpus, tmp_path / "cache", server, of_the_question)
    (report,) = run.board.of(Report)
    assert report.payload.warnings == ()
    assert 0.0 < run.gauges["judge_trust"] <= 0.5
    assert run.gauges["judge_problems"] == 0
    moved = [found.payload for found in run.board.of(Finding)]
    fits = {found.id: found.payload.fit for found in run.board.of(Passage)}
    assert any(finding.relevance < 0.95 * fits[finding.passage] for finding in moved)
    assert all(finding.relevance >= 0.5 * fits[finding.passage] for finding in moved)
