"""The four agents, without a model, over small corpora."""

from pathlib import Path
from typing import Any

import pytest

from agents.agent import AgentFailure
from agents.research import AGENTS
from agents.research.artifacts import Finding, Passage, Plan, Rejected, Report
from agents.research.documents import read_document
from agents.research.markdown import fenced, plain
from agents.research.quotes import check, text_similarity
from agents.research.reporter import rank
from tests.research.test_corpus import write_pdf
from tests.support.agent_context import FakeContext, MemoryBoard, Research, discover, run_agent

BY_NAME = {agent.name: agent for agent in AGENTS}
QUESTION = "What happens when a kettle boils dry?"


def settings(*roots: Path) -> dict[str, Any]:
    return {"corpus": [str(root) for root in roots], "cache": str(roots[0].parent / "cache")}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "kettle.md").write_text(
        "# Kettles\n\nA kettle that boils dry switches itself off.\n\n# Toasters\n\nA toaster pops up.\n"
    )
    return folder


def passage(path: Path, start: int, end: int, quote: str, **more: Any) -> Passage:
    return Passage(path=path.name, start_line=start, end_line=end, quote=quote, relevance=0.5, **more)


async def verified(root: Path, *passages: Passage, board: MemoryBoard | None = None) -> MemoryBoard:
    board = board or MemoryBoard()
    inputs = board.add("explore", "direction", f"task{len(board.artifacts)}", passages)
    await run_agent(
        BY_NAME["verify"], FakeContext("verify", QUESTION, settings(root), inputs=inputs, board=board)
    )
    return board


def test_the_agents_declare_what_they_consume_and_publish() -> None:
    assert [(agent.name, agent.consumes, agent.publishes, agent.runs_in) for agent in AGENTS] == [
        ("plan", (), ("plan",), "thread"),
        ("explore", (), ("passage", "rejected"), "thread"),
        ("verify", ("passage",), ("finding", "rejected"), "thread"),
        ("report", ("finding", "rejected", "plan"), ("report",), "thread"),
    ]


@pytest.mark.anyio
async def test_a_plan_proposes_the_question_its_parts_and_its_names(corpus: Path) -> None:
    (corpus / "a.py").write_text("def boil_dry():\n    '''A kettle boils dry.'''\n")
    question = "What does boil_dry do to a kettle, and who calls a unicorn?"
    context = FakeContext("plan", question, settings(corpus))
    discovery = await run_agent(BY_NAME["plan"], context)
    topics = [item.topic for item in discovery.follow_ups]
    assert topics[0] == question
    assert "boil_dry" in topics
    assert all(item.agent == "explore" and item.prior for item in discovery.follow_ups)
    (plan,) = context.board.of(Plan)
    assert "unicorn" in plan.payload.unknown_terms
    assert plan.payload.corpus.files == 2


@pytest.mark.anyio
async def test_a_corpus_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    for roots, problem in (([tmp_path / "absent"], "does not exist"), ([tmp_path], "no text")):
        with pytest.raises(AgentFailure, match=problem) as raised:
            await discover(
                BY_NAME["plan"],
                FakeContext("plan", "q", {**settings(*roots), "cache": str(tmp_path / ".cache")}),
            )
        assert raised.value.kind == "user"


@pytest.mark.anyio
async def test_a_corpus_without_text_says_what_was_left_out_and_why(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "image.png").write_bytes(b"png")
    (tmp_path / "corpus" / "noise.txt").write_bytes(bytes(range(256)))
    context = FakeContext("plan", "q", {**settings(tmp_path / "corpus"), "cache": str(tmp_path / ".cache")})
    with pytest.raises(AgentFailure, match=r"no text in .*corpus; not read: 2 files or folders: .*binary"):
        await discover(BY_NAME["plan"], context)


@pytest.mark.anyio
async def test_a_report_without_a_plan_does_not_pretend_that_nothing_is_open(tmp_path: Path) -> None:
    research = Research("Anything?", settings(tmp_path))
    await research.report(BY_NAME["report"])
    (report,) = research.board.of(Report)
    assert "## What remains open\n\n- All of it." in report.payload.markdown
    assert "there was no plan" in report.payload.markdown


@pytest.mark.anyio
async def test_the_reward_falls_when_a_passage_is_known_already(corpus: Path) -> None:
    board = MemoryBoard()
    first = await run_agent(
        BY_NAME["explore"], FakeContext("explore", QUESTION, settings(corpus), QUESTION, board=board)
    )
    again = await run_agent(
        BY_NAME["explore"],
        FakeContext("explore", QUESTION, settings(corpus), "kettle boils dry", board=board),
    )
    assert 0 < first.reward <= 1
    assert again.reward == 0.0
    assert again.exhausted


@pytest.mark.anyio
async def test_a_second_attempt_finds_the_same_though_the_board_moved_on(corpus: Path) -> None:
    first = FakeContext("explore", QUESTION, settings(corpus), QUESTION)
    before = await discover(BY_NAME["explore"], first)
    first.board.add("explore", "other", "other", before.artifacts)
    second = FakeContext(
        "explore", QUESTION, settings(corpus), QUESTION, board=first.board, journal=first.journal
    )
    assert await discover(BY_NAME["explore"], second) == before


@pytest.mark.anyio
async def test_later_visits_go_deeper_until_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.txt").write_text(f"A kettle of kind {number} boils dry.\n")
    board, seen, visit = MemoryBoard(), set[str](), 0
    while True:
        visit += 1
        context = FakeContext("explore", QUESTION, settings(folder), QUESTION, visit=visit, board=board)
        discovery = await run_agent(BY_NAME["explore"], context)
        paths = {found.payload.path for found in board.of(Passage)}
        assert paths > seen
        seen = paths
        if discovery.exhausted:
            break
    assert len(seen) == 12
    assert visit == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"one\r\ntwo \xe2\x98\x95\r\nthree\r\n",
        b"one\rtwo\rthree",
        b"\xef\xbb\xbfone\n\ttabs\tand  blanks \nthree\n",
        b"caf\xe9\nna\xefve\nthree\n",
        "e\u0301 is not \u00e9\n\u2028 is no line end\nthree\x0c\n".encode(),
    ],
    ids=["crlf", "cr", "bom-and-tabs", "latin-1", "combining"],
)
async def test_a_quotation_is_compared_byte_for_byte(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(body)
    document = read_document(path)
    quote = document.pages[0].text(1, 2, document.encoding)
    good = passage(path, 1, 2, quote, encoding=document.encoding)
    assert check([str(tmp_path)], good) is None
    for wrong in (
        {"quote": quote + "!"},
        {"quote": " ".join(quote.split("\t")) + "\t"},
        {"end_line": 3},
        {"start_line": 2},
    ):
        assert check([str(tmp_path)], good.model_copy(update=wrong)) is not None


@pytest.mark.anyio
async def test_a_pdf_is_checked_against_its_extracted_text(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    write_pdf(path, [["First"], ["A kettle boils", "dry"]])
    good = passage(path, 1, 2, "A kettle boils\ndry", page=2)
    assert good.citation == "a.pdf:page 2 lines 1-2"
    assert check([str(tmp_path)], good) is None
    assert check([str(tmp_path)], good.model_copy(update={"page": 1})) is not None
    assert check([str(tmp_path)], good.model_copy(update={"page": 7})) is not None


@pytest.mark.anyio
async def test_what_cannot_be_verified_never_becomes_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("first\nsecond\nthird\n")
    gone = tmp_path / "gone.txt"
    board = await verified(
        tmp_path,
        passage(path, 1, 1, "first"),
        passage(path, 1, 1, "second"),
        passage(path, 3, 3, "fourth"),
        passage(path, 90, 91, "nowhere"),
        passage(path, 1, 1, ""),
        passage(gone, 1, 1, "first"),
        Passage(path="../a.txt", start_line=1, end_line=1, quote="first"),
        Passage(path="a.txt", root=5, start_line=1, end_line=1, quote="first"),
    )
    assert [found.payload.quote for found in board.of(Finding)] == ["first"]
    reasons = sorted(found.payload.reason for found in board.of(Rejected))
    assert reasons == ["changed", "changed", "changed", "missing", "moved", "outside", "outside"]


@pytest.mark.anyio
async def test_a_file_that_changes_after_it_was_read_is_noticed_by_verifier_and_reporter(
    corpus: Path,
) -> None:
    research = Research(QUESTION, settings(corpus))
    await research.run(BY_NAME, 2)
    assert research.board.of(Finding)
    (corpus / "kettle.md").write_text("# Kettles\n\nA kettle that boils dry explodes.\n")
    await research.report(BY_NAME["report"])
    (report,) = research.board.of(Report)
    assert report.payload.findings == ()
    assert report.payload.statements == ()
    assert report.payload.rejected >= 1


@pytest.mark.anyio
async def test_near_duplicates_are_merged_and_the_merge_is_recorded(tmp_path: Path) -> None:
    text = "A kettle that boils dry switches itself off at once, says the manual.\nsecond\nthird\n"
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text)
    first = text.splitlines()[0]
    board = await verified(
        tmp_path,
        passage(tmp_path / "a.txt", 1, 2, f"{first}\nsecond"),
        passage(tmp_path / "a.txt", 2, 3, "second\nthird"),
        passage(tmp_path / "b.txt", 1, 1, first),
    )
    (finding,) = board.of(Finding)
    assert finding.payload.citation == "a.txt:1-2"
    assert [(item.citation, item.rule) for item in finding.payload.merged] == [
        ("a.txt:2-3", "overlap"),
        ("b.txt:1", "text"),
    ]
    assert all(0.85 <= item.similarity < 1 for item in finding.payload.merged if item.rule == "text")
    await verified(tmp_path, passage(tmp_path / "a.txt", 1, 1, first), board=board)
    (rejected,) = board.of(Rejected)
    assert (rejected.payload.reason, rejected.payload.of) == ("duplicate", finding.id)


@pytest.mark.anyio
async def test_the_reporter_merges_what_verifiers_found_at_the_same_time(tmp_path: Path) -> None:
    board = MemoryBoard()
    for task in ("one", "two"):
        finding = Finding(path="a", start_line=1, end_line=2, quote="a\nb", passage="p", direction="d")
        board.add("verify", "d", task, [finding])
    ranked, merged = rank(board.of(Finding))
    assert (len(ranked), merged) == (1, 1)


def test_similarity_ignores_case_blanks_and_punctuation() -> None:
    assert text_similarity("A kettle, boils  DRY!", "a kettle boils dry") == 1.0
    assert text_similarity("A kettle boils dry", "A toaster pops up") == 0.0
    assert text_similarity("", "") == 0.0


@pytest.mark.anyio
async def test_every_statement_of_the_report_is_cited_and_its_text_stands_there(corpus: Path) -> None:
    research = Research(QUESTION, settings(corpus))
    await research.run(BY_NAME, 4)
    discovery = await research.report(BY_NAME["report"])
    (report,) = research.board.of(Report)
    assert report.payload.mode == "extractive"
    assert report.payload.statements[0].text == "A kettle that boils dry switches itself off."
    assert report.payload.answer.splitlines()[0].endswith("[kettle.md:3]")
    markdown = report.payload.markdown
    for section in (
        "## Answer",
        "## Evidence",
        "## What was explored",
        "## What remains open",
        "## How this was",
    ):
        assert section in markdown
    assert all(f"{item.path}:{item.start_line}" in markdown for item in report.payload.findings)
    assert {item.artifact for item in report.payload.findings} == {
        found.id for found in research.board.of(Finding)
    }
    assert discovery.reward == 1.0


@pytest.mark.anyio
async def test_paths_of_several_roots_are_told_apart(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
        (root / "a.md").write_text(f"A kettle of {root.name} that boils dry switches itself off.\n")
    research = Research(QUESTION, settings(*roots))
    await research.run(BY_NAME, 3)
    await research.report(BY_NAME["report"])
    (report,) = research.board.of(Report)
    assert {(item.root, item.path) for item in report.payload.findings} == {(0, "a.md"), (1, "a.md")}
    assert "one/a.md:1" in report.payload.markdown


@pytest.mark.anyio
async def test_a_run_that_finds_nothing_says_so(corpus: Path) -> None:
    research = Research("Who wrote the zeppelin manual?", settings(corpus))
    await research.run(BY_NAME, 3)
    discovery = await research.report(BY_NAME["report"])
    (report,) = research.board.of(Report)
    assert report.payload.findings == ()
    assert "zeppelin" in report.payload.markdown
    assert discovery.reward == 0.0


def test_text_of_a_document_cannot_end_its_fence_or_load_an_image() -> None:
    assert fenced("```\n# a heading\n```").startswith("````text\n")
    assert (
        plain("![x](http://example.org) <img src=x>\nnext")
        == "!\\[x](http://example.org) &lt;img src=x> next"
    )
