"""Questions with known answers, asked of the whole standard library of the running Python."""

import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agents.research import AGENTS
from agents.research.artifacts import Finding
from agents.research.reporter import rank
from tests.research.questions import HELD_OUT, TUNED, Question
from tests.support.agent_context import Research

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
MODULES = """
    argparse ast asyncio base64 bdb bisect calendar cmd code codecs collections concurrent configparser
    contextlib copy csv ctypes dataclasses datetime difflib dis doctest email enum filecmp fileinput
    fnmatch fractions ftplib functools getopt gettext glob gzip hashlib heapq hmac html http imaplib
    importlib inspect io ipaddress json linecache locale logging lzma mailbox mimetypes multiprocessing
    optparse os pathlib pdb pickle pickletools platform plistlib poplib pprint profile pstats queue
    random re reprlib sched secrets selectors shelve shlex shutil signal smtplib socket socketserver
    sqlite3 ssl stat statistics string subprocess symtable tarfile tempfile textwrap threading tokenize
    trace traceback tracemalloc turtle types typing unittest urllib uuid venv warnings wave weakref
    webbrowser wsgiref xml xmlrpc zipapp zipfile zipimport
"""
BUDGET = 12


def modules() -> list[str]:
    """The modules asked about and their neighbours, as packages or as files: what this Python has of them."""
    paths = [path for name in MODULES.split() for path in (LIBRARY / name, LIBRARY / f"{name}.py")]
    return [str(path) for path in paths if path.is_file() or path.is_dir()]


async def ranks(questions: Sequence[Question], cache: Path) -> dict[str, tuple[int | None, int]]:
    """For each question the rank of the first finding that answers it, and how many findings there are."""
    found: dict[str, tuple[int | None, int]] = {}
    for question in questions:
        research = Research(question.text, {"corpus": modules(), "cache": str(cache)})
        await research.run({agent.name: agent for agent in AGENTS}, BUDGET)
        findings, _ = rank(research.board.of(Finding))
        rank_of_answer = next(
            (n for n, item in enumerate(findings, 1) if answers(question, item.payload.quote)), None
        )
        found[question.text] = rank_of_answer, len(findings)
    return found


def answers(question: Question, quote: str) -> bool:
    return any(anchor in quote for anchor in question.anchors)


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "questions", "floor"), [("tuned", TUNED, 12), ("held out", HELD_OUT, 7)])
async def test_the_passage_that_answers_is_cited(
    name: str,
    questions: Sequence[Question],
    floor: int,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> None:
    started = time.monotonic()
    cache = tmp_path_factory.getbasetemp() / "indexes"
    found = await ranks(questions, cache)
    cited = [rank for rank, _ in found.values() if rank is not None]
    first_five = sum(1 for rank in cited if rank <= 5)
    record_property(
        "figure",
        f"questions with known answers, {name}: recall {len(cited)}/{len(questions)}, "
        f"among the first five {first_five}/{len(questions)}, "
        f"mean reciprocal rank {sum(1 / rank for rank in cited) / len(questions):.2f}, "
        f"{sum(total for _, total in found.values()) / len(questions):.0f} findings each, "
        f"{(time.monotonic() - started) / len(questions):.2f} s each",
    )
    page = (Path(__file__).parents[2] / "docs" / "research.md").read_text(encoding="utf-8")
    assert f"{floor} of {len(questions)}" in page
    assert len(cited) >= floor, [question for question, (rank, _) in found.items() if rank is None]
