"""`coordinator prices`, and a warning where a budget of dollars may not hold."""

import json
from pathlib import Path

from tests.cli.support import coordinator
from tests.verbs.commands import Shell, spec
from tests.verbs.test_http import Client, client

__all__ = ["client"]

OWN = """
[prices.models]
"openai/house-*" = { input = 1.5, output = 6 }
"""


def test_prices_are_shown_with_their_origin_ones_own_first(tmp_path: Path) -> None:
    (tmp_path / "swarmboard.toml").write_text(OWN, encoding="utf-8")
    first, *shipped = coordinator("prices", "--json", home=tmp_path).json
    assert first == {
        "model": "openai/house-*",
        "input": 1.5,
        "cached": 1.5,
        "output": 6.0,
        "origin": str(tmp_path / "swarmboard.toml"),
    }
    assert {row["origin"].partition(",")[0] for row in shipped} == {"shipped"}
    assert coordinator("prices", "openai/house-1", "--json", home=tmp_path).json == [first]


def test_a_model_without_a_price_is_said_to_have_none(tmp_path: Path) -> None:
    answer = coordinator("prices", "openai/nobody", home=tmp_path)
    assert answer.code == 3
    assert "no price of 'openai/nobody'" in answer.err


def test_prices_may_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"SWARMBOARD_PRICES_MODELS": '{"a/b": {"input": 1, "output": 2}}'}
    (row,) = coordinator("prices", "a/b", "--json", home=tmp_path, env=environ).json
    assert (row["output"], row["origin"]) == (2.0, "environment")


def test_a_budget_of_dollars_without_a_price_is_warned_of(shell: Shell) -> None:
    budget = {"tasks": 1, "cost_microdollars": 5}
    run = spec("note", budget=budget, settings={"model": "openai/nobody"})
    warned = shell("submit", "--spec", "-", "--wait", stdin=run).err
    assert "warning: the price of openai/nobody is not known here" in warned
    known = spec("note", budget=budget, settings={"model": "openai/gpt-5-mini"})
    assert "warning" not in shell("submit", "--spec", "-", "--wait", stdin=known).err


def test_it_is_warned_of_over_http_too(client: Client) -> None:
    def warnings(model: str) -> list[str]:
        run = spec("note", budget={"tasks": 1, "cost_microdollars": 5}, settings={"model": model})
        return client("POST", "/v1/runs", json.loads(run), status=201)["warnings"]

    (warning,) = warnings("openai/nobody")
    assert "the price of openai/nobody is not known here" in warning
    assert warnings("openai/gpt-5-mini") == []
