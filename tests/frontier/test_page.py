"""The benchmark writes its page: tables, and plots that are the same each time."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.frontier import settings, stopping
from bench.frontier.beside import COMPARED
from bench.frontier.charts import Curve, chart
from bench.frontier.page import Effort, lai_robbins, write_page
from bench.frontier.play import Play
from bench.frontier.record import Record
from bench.frontier.settings import Setting
from bench.frontier.speed import measured
from bench.frontier.worlds import Flat, Tree, gradual
from protocol.errors import InvalidSettings

SMALL_TREE = Tree(ratio=0.85, visits=60)
SMALL_FLAT = Flat(6, graded=False, visits=120)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = [Setting("T2", SMALL_TREE, 4, "reward"), Setting("flat K=50", SMALL_FLAT, 4, "regret")]
    monkeypatch.setattr(settings, "gates", lambda: [Setting("T2", SMALL_TREE, 4, "reward", gate=0.1)])
    monkeypatch.setattr(settings, "compared", lambda: compared)
    monkeypatch.setattr(settings, "listed", lambda: compared)
    monkeypatch.setattr(settings, "held_out", lambda: settings.drawn("page", 3)[2:])
    monkeypatch.setattr(
        stopping, "worlds", lambda: {"gradual": Flat(3, graded=True, drift=gradual, visits=2_000)}
    )


def test_the_page_shows_gates_policies_held_out_settings_stopping_and_plots(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert write_page(page, Effort.of(2, 2), Record())
    text = page.read_text(encoding="utf-8")
    assert "| T2 | 4 | reward |" in text
    assert "0.1 met" in text
    assert all(policy in text for policy in COMPARED)
    assert "| short page 3 |" in text
    assert "| gradual |" in text
    for plot in ("page-reward.svg", "page-regret.svg"):
        assert f"![{plot}]({plot})" in text
        ET.parse(tmp_path / plot)


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        write_page(tmp_path / folder / "page.md", Effort.of(1, 1), Record())
    first, second = (
        {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / folder).iterdir()}
        for folder in ("first", "second")
    )
    assert first == second


def test_the_page_says_what_played(tmp_path: Path) -> None:
    record = Record()
    write_page(tmp_path / "page.md", Effort.of(1, 1), record)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"played by {record.origin.interpreter}" in text
    assert record.origin.code in text


def test_all_of_a_page_is_kept_so_that_it_can_be_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Record(tmp_path / "games.jsonl")
    write_page(tmp_path / "page.md", Effort.of(2, 2), kept)
    first = (tmp_path / "page.md").read_text(encoding="utf-8")
    monkeypatch.setattr(Play, "run", lambda _: pytest.fail("played again"))
    write_page(tmp_path / "page.md", Effort.of(2, 2), Record(tmp_path / "games.jsonl"))
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == first


def test_games_that_other_code_has_played_are_refused(tmp_path: Path) -> None:
    games = tmp_path / "games.jsonl"
    Record(games)
    games.write_text(
        games.read_text(encoding="utf-8").replace(Record().origin.code, "other"), encoding="utf-8"
    )
    with pytest.raises(InvalidSettings, match="begin another"):
        Record(games)


def test_many_workers_and_lost_visits_are_seen_beside_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Setting("flat K=50", SMALL_FLAT, 1, "regret")
    crowd = Setting("flat K=50", SMALL_FLAT, 64, "regret")
    monkeypatch.setattr(settings, "gates", lambda: [alone, crowd])
    write_page(tmp_path / "page.md", Effort.of(2, 1), Record())
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| flat K=50, 64 workers over 1 |" in text
    assert "lost over none" not in text


def test_a_missed_gate_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "gates", lambda: [Setting("T2", SMALL_TREE, 4, "reward", gate=1.1)])
    assert not write_page(tmp_path / "page.md", Effort.of(1, 1), Record())
    assert "1.1 MISSED" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_a_curve_is_drawn_with_its_band_inside_the_frame() -> None:
    document = ET.fromstring(
        chart("a", "visits", "reward", [Curve("one", [(1, 0.5, 0.4, 0.6), (2, 1.0, 0.8, 1.2)])])
    )
    line, band = (document.find(f".//{{*}}{kind}") for kind in ("polyline", "polygon"))
    assert line is not None
    assert band is not None
    assert len(line.attrib["points"].split()) == 2
    assert len(band.attrib["points"].split()) == 4


def test_the_bound_of_lai_and_robbins_is_below_what_is_reached_by_visiting_at_random() -> None:
    world = Flat(10, graded=False)
    assert 10 < lai_robbins(world, seeds=4) < 100


def test_speed_is_measured_of_choices_of_whole_visits_and_of_scans() -> None:
    speed = measured(300, seconds=0.05)
    assert speed.directions == 300
    assert speed.choices_per_s > speed.cycles_per_s > speed.scans_per_s > 0
