"""Plain output for programs, decorated output for a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator import output
from tests.cli.support import environment


def test_a_table_is_aligned_and_never_cut_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_table(("name", "value"), [("a", "x" * 300), ("longer", None), ("two\nlines", 3)])
    assert capsys.readouterr().out.splitlines() == [
        "NAME       VALUE",
        f"a          {'x' * 300}",
        "longer",
        "two lines  3",
    ]


def test_an_empty_table_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_table(("name", "value"), [])
    assert capsys.readouterr().out == "NAME  VALUE\n"


def test_json_is_one_line_for_programs_and_messages_stay_out_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.emit_json({"name": "Zoë"})
    output.message("by the way")
    assert capsys.readouterr() == ('{"name": "Zoë"}\n', "by the way\n")


def test_a_terminal_gets_a_decorated_table(tmp_path: Path) -> None:
    text = on_a_terminal("from coordinator.cli import main; main()", "config", home=tmp_path, way="stdout")
    assert "\x1b[1m" in text
    assert "─" in text


LIVE = """
from coordinator.output import live_line
with live_line() as live:
    live.status("exploring: 3/32 visits")
    live.line("explored 'tides'")
"""


def test_progress_moves_in_place_on_a_terminal_and_is_a_plain_log_elsewhere(tmp_path: Path) -> None:
    text = on_a_terminal(LIVE, home=tmp_path, way="stderr")
    assert "\x1b[" in text
    assert "exploring: 3/32 visits" in text
    assert "explored 'tides'" in text
    plain = subprocess.run(
        [sys.executable, "-c", LIVE], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert (plain.stdout, plain.stderr) == ("", "explored 'tides'\n")


def on_a_terminal(script: str, *arguments: str, home: Path, way: str) -> str:
    """What a script prints that has a terminal at the end of that way."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=home,
        env=environment(home, {"TERM": "xterm", "COLUMNS": "100"}),
        check=True,
        **{way: theirs},
    )
    os.close(theirs)
    text = os.read(ours, 65_536).decode()
    os.close(ours)
    return text
