"""What a model costs: which row counts, and what it comes to."""

import pytest

from protocol.prices import SHIPPED, Price, PriceTable

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
    assert all("shipped, 20" in row.origin for row in SHIPPED)


def test_cached_tokens_have_a_price_of_their_own_if_they_have_one() -> None:
    assert Price(input=2.0, output=10.0, cached=0.5).microdollars(100, 30, 40) == 60 * 2 + 40 * 0.5 + 30 * 10
    assert Price(input=2.0, output=10.0).microdollars(100, 0, 40) == 200
    assert Price(input=0, output=0).microdollars(100, 100, 0) == 0
