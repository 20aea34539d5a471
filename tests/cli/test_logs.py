"""Logging of both commands."""

import json
import logging
from collections.abc import Iterator

import pytest

from protocol import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_hold_message_extra_and_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("swarm").exception("task %s failed", "t1", extra={"task": "t1"})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["message"], entry["level"], entry["task"]) == ("task t1 failed", "error", "t1")
    assert "ValueError: bad" in entry["traceback"]


def test_text_is_one_line_and_less_than_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "warning")
    logging.getLogger("swarm").info("quiet")
    logging.getLogger("swarm").warning("loud")
    err = capsys.readouterr().err
    assert "quiet" not in err
    assert err.endswith("WARNING swarm: loud\n")
