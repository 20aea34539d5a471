"""What a model costs: which row counts, and what it comes to."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from protocol.prices import SHIPPED, SHIPPED_ON, Price, PriceTable

LITELLM_LIST = "model_prices_and_context_window_backup.json"
PER_TOKEN = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")

OWN = {
    "openai/gpt-5-mini": Price(input=9, output=9),
    "openai/house-*": Price(input=1, output=2),
    "openai/house-large*": Price(input=3, output=4),
}


@pytest.mark.parametrize(
    ("model", "input_"),
    [
        ("openai/gpt-5-mini", 9),
        ("openai/gpt-5-mini-2025-08-07", 0.25),
        ("openai/gpt-5", 1.25),
        ("openai/house-small", 1),
        ("openai/house-large-2", 3),
    ],
)
def test_ones_own_price_wins_and_the_longest_pattern_before_others(model: str, input_: float) -> None:
    row = PriceTable(OWN).find(model)
    assert row is not None
    assert row.price.input == input_


@pytest.mark.parametrize("model", ["openai/gpt-5-pro", "openai/gpt-5-mini-audio", "gpt-5", "house-small", ""])
def test_what_no_row_names_has_no_price(model: str) -> None:
    assert PriceTable(OWN).find(model) is None


def test_every_row_says_where_it_comes_from() -> None:
    origins = {row.pattern: row.origin for row in PriceTable(OWN, "swarmboard.toml").rows}
    assert origins["openai/house-*"] == "swarmboard.toml"
    assert {row.origin for row in SHIPPED} == {f"shipped, {SHIPPED_ON}, from LiteLLM's list"}


def test_a_shipped_price_is_that_of_the_list_that_it_is_said_to_be_from() -> None:
    found = find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    listed = json.loads((Path(found.origin).parent / LITELLM_LIST).read_text(encoding="utf-8"))
    for row in SHIPPED:
        if "*" not in row.pattern:
            known = listed[row.pattern.removeprefix("openai/")]
            dollars = [round(known[name] * 1_000_000, 6) for name in PER_TOKEN]
            assert dollars == [row.price.input, row.price.output, row.price.cached], row.pattern


def test_cached_tokens_have_a_price_of_their_own_if_they_have_one() -> None:
    assert Price(input=2.0, output=10.0, cached=0.5).microdollars(100, 30, 40) == 60 * 2 + 40 * 0.5 + 30 * 10
    assert Price(input=2.0, output=10.0).microdollars(100, 0, 40) == 200
    assert Price(input=0, output=0).microdollars(100, 100, 0) == 0
