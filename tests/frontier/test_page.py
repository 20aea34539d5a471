"""The benchmark writes its page: tables, and plots that are the same each time."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest

from bench.frontier import grid, settings, stopping
from bench.frontier.beside import COMPARED, leads
from bench.frontier.charts import Curve, chart
from bench.frontier.grid import lai_robbins
from bench.frontier.origin import origin
from bench.frontier.page import Effort, ratios, write_page
from bench.frontier.play import Play
from bench.frontier.record import Record
from bench.frontier.resampling import interval_of_mean
from bench.frontier.settings import Setting
from bench.frontier.speed import SEARCHED, measured
from bench.frontier.worlds import Flat, Tree, gradual
from protocol.errors import InvalidSettings

TREE = Setting("T2", Tree(ratio=0.85, visits=24), 4, "reward", gate=0.1)
FLAT = Setting("flat K=50", Flat(6, graded=False, visits=30), 4, "regret")
LOST = Setting("flat K=50, 10% lost", FLAT.world, 16, "regret", lost=0.1)
EFFORT = Effort.of(2, 2)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "gates", lambda: [TREE])
        patch.setattr(settings, "compared", lambda: [TREE, FLAT])
        patch.setattr(settings, "listed", lambda: [TREE])
        patch.setattr(settings, "held_out", lambda: settings.drawn("page", 3)[2:])
        flats = {"coins": Flat(6, graded=False, visits=30), "graded": Flat(6, graded=True, visits=30)}
        patch.setattr(grid, "worlds", lambda: flats)
        worlds = {"gradual": Flat(3, graded=True, drift=gradual, visits=300)}
        patch.setattr(stopping, "worlds", lambda: worlds)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small: None) -> Path:
    """Of a page, its plots and the record of its games."""
    folder = tmp_path_factory.mktemp("page")
    assert write_page(folder / "page.md", EFFORT, Record(folder / "games.jsonl"))
    return folder


def text_of(folder: Path) -> str:
    return (folder / "page.md").read_text(encoding="utf-8")


def recorded(path: Path, games: Mapping[tuple[Setting, str], Sequence[float]]) -> Record:
    """Games whose measure, by seed, is known."""
    lines: list[object] = [asdict(origin())]
    for (setting, policy), values in games.items():
        place = f"{setting.name}, W={setting.workers}, lost={setting.lost}, {policy}"
        lines += [[f"{place}, {seed}", [value, value, 1.0]] for seed, value in enumerate(values)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return Record(path)


def test_the_page_shows_gates_policies_held_out_settings_stopping_and_plots(folder: Path) -> None:
    text = text_of(folder)
    assert "| T2 | 4 | reward |" in text
    assert "0.1 met" in text
    assert all(policy in text for policy in COMPARED)
    assert "| short page 3 |" in text
    assert "| gradual |" in text
    for plot in ("page-reward.svg", "page-regret.svg"):
        assert f"![{plot}]({plot})" in text
        ET.parse(folder / plot)


def test_the_page_says_what_played_and_how_it_is_written_again(folder: Path) -> None:
    played_by = origin()
    assert f"played by {played_by.interpreter}" in text_of(folder)
    assert played_by.code in text_of(folder)
    assert "--seeds 2 --beside\n2 --shares 4`" in text_of(folder)


def test_regret_in_flat_worlds_stands_beside_one_worker_with_ucb1_and_for_coins_beside_the_bound(
    folder: Path,
) -> None:
    heads = "| regret of the default | W=1 | W=4 | W=16 | W=64 | ucb1, W=1 | Lai and Robbins |"
    assert heads in text_of(folder)
    coins, graded = (
        next(line for line in text_of(folder).splitlines() if line.startswith(f"| {name} |")).split(" | ")
        for name in ("coins", "graded")
    )
    games = Record(folder / "games.jsonl")
    alone = Setting("coins", Flat(6, graded=False, visits=30), 1, "regret")
    for place, policy in ((1, "adaptive"), (5, "ucb1")):
        assert coins[place] == f"{games.result(alone, policy, 0).regret:.0f} ± 0"
    assert coins[6] == f"{lai_robbins(Flat(6, graded=False, visits=30), seeds=1):.0f} |"
    assert graded[6] == " |"


@pytest.mark.parametrize("policy", COMPARED)
def test_a_game_is_the_same_each_time(folder: Path, policy: str) -> None:
    kept, again = Record(folder / "games.jsonl"), Record()
    for setting in (TREE, FLAT):
        assert again.result(setting, policy, 1) == kept.result(setting, policy, 1)


def test_all_of_a_page_is_kept_so_that_it_can_be_broken_off_and_is_the_same_each_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Play, "run", lambda _: pytest.fail("played again"))
    write_page(tmp_path / "page.md", EFFORT, Record(folder / "games.jsonl"))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_games_that_other_code_has_played_are_refused(tmp_path: Path) -> None:
    games = tmp_path / "games.jsonl"
    Record(games)
    games.write_text(games.read_text(encoding="utf-8").replace(origin().code, "other"), encoding="utf-8")
    with pytest.raises(InvalidSettings, match="begin another"):
        Record(games)


def test_a_missed_gate_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = Setting(TREE.name, TREE.world, TREE.workers, "reward", gate=1.1)
    monkeypatch.setattr(settings, "gates", lambda: [missed])
    assert not write_page(tmp_path / "page.md", EFFORT, Record(folder / "games.jsonl"))
    assert "1.1 MISSED" in text_of(tmp_path)


@pytest.mark.parametrize(
    ("lost", "shown"),
    [([105.0, 103.0], "1.04 | 1.03 to 1.05 | 1.1 met"), ([120.0, 110.0], "1.15 | 1.10 to 1.20 | 1.1 MISSED")],
)
def test_the_regret_with_visits_lost_stands_beside_that_with_none_lost(
    tmp_path: Path, lost: Sequence[float], shown: str
) -> None:
    none_lost = Setting(FLAT.name, FLAT.world, 16, "regret")
    record = recorded(
        tmp_path / "games.jsonl", {(none_lost, "adaptive"): [100.0, 100.0], (LOST, "adaptive"): lost}
    )
    table = ratios([none_lost, LOST], 2, record)
    assert f"| flat K=50, 10 % lost over none | {shown} |" in table
    assert "64 workers" not in table


def test_the_regret_of_many_workers_stands_beside_that_of_one(tmp_path: Path) -> None:
    alone, crowd = (Setting(FLAT.name, FLAT.world, workers, "regret") for workers in (1, 64))
    record = recorded(
        tmp_path / "games.jsonl", {(alone, "adaptive"): [80.0, 120.0], (crowd, "adaptive"): [104.0, 156.0]}
    )
    table = ratios([alone, crowd], 2, record)
    assert "| flat K=50, 64 workers over 1 | 1.30 | 1.30 to 1.30 | 1.25 MISSED |" in table


def test_a_lead_is_counted_seed_by_seed_and_towards_the_better_side(tmp_path: Path) -> None:
    games = {(setting, policy): [0.2, 0.4] for setting in (TREE, FLAT) for policy in COMPARED}
    games |= {(setting, "adaptive"): [0.3, 0.5] for setting in (TREE, FLAT)}
    shown = leads([TREE, FLAT], 2, recorded(tmp_path / "games.jsonl", games)).splitlines()
    assert shown[-2].endswith("| +0.100 | +0.100 to +0.100 |")
    assert shown[-1].endswith("| -0 | -0 to -0 |")


def test_an_interval_is_as_wide_as_that_of_the_normal_distribution_and_as_often_right() -> None:
    rng, inside, widths = Random(7), 0, list[float]()
    for _ in range(100):
        low, high = interval_of_mean([rng.gauss(0.5, 0.1) for _ in range(40)])
        inside += low <= 0.5 <= high
        widths.append(high - low)
    assert 80 <= inside <= 97
    assert sum(widths) / 100 == pytest.approx(2 * 1.645 * 0.1 / 40**0.5, rel=0.1)


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
    for policy in (None, SEARCHED["kl-ucb-plus-plus"]):
        speed = measured(300, seconds=0.05, policy=policy)
        assert speed.directions == 300
        assert speed.choices_per_s > speed.cycles_per_s > speed.scans_per_s > 0
