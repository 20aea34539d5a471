"""What models cost: one table, the shipped rows under one's own.

Prices are dollars for a million tokens. The shipped ones are few, and as dated; those of the settings win.
A model that no row names has no known price, which is not 0.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from protocol.messages import Record

SHIPPED_ON = "2025-11"
"""As of when the shipped prices are. They are those of LiteLLM's list, by test; nobody has compared them
with the providers' own pages.
"""
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Price(Record):
    """Dollars for a million tokens in, out, and in from the provider's prompt cache."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    """None: as `input`."""

    def microdollars(self, tokens_in: int, tokens_out: int, tokens_cached: int) -> int:
        """Of one call; `tokens_cached` are among `tokens_in`."""
        cached = self.input if self.cached is None else self.cached
        fresh = max(0, tokens_in - tokens_cached)
        return round(fresh * self.input + tokens_cached * cached + tokens_out * self.output)


class PriceRow(Record):
    """A price, the models that it is of, and where it comes from."""

    pattern: str
    """A model's name; `*`, `?` and `[…]` as in file names."""
    price: Price
    origin: str


def _shipped(name: str, input_: float, output: float, cached: float) -> tuple[PriceRow, PriceRow]:
    """A model under its name, and under its name with a date."""
    price = Price(input=input_, output=output, cached=cached)
    origin = f"shipped, {SHIPPED_ON}, from LiteLLM's list"
    return (
        PriceRow(pattern=name, price=price, origin=origin),
        PriceRow(pattern=f"{name}-20[0-9][0-9]*", price=price, origin=origin),
    )


SHIPPED = (
    *_shipped("openai/gpt-5", 1.25, 10.0, 0.125),
    *_shipped("openai/gpt-5-mini", 0.25, 2.0, 0.025),
    *_shipped("openai/gpt-5-nano", 0.05, 0.4, 0.005),
    *_shipped("openai/gpt-4.1", 2.0, 8.0, 0.5),
    *_shipped("openai/gpt-4.1-mini", 0.4, 1.6, 0.1),
    *_shipped("openai/gpt-4o-mini", 0.15, 0.6, 0.075),
)


class PriceTable:
    """Rows in the order in which they count: one's own first, and of each kind the longest pattern first."""

    def __init__(self, own: Mapping[str, Price] = {}, origin: str = "settings") -> None:
        mine = [PriceRow(pattern=pattern, price=price, origin=origin) for pattern, price in own.items()]
        self.rows = (*_longest_first(mine), *_longest_first(SHIPPED))

    def find(self, model: str) -> PriceRow | None:
        """The row that counts for a model; None where its price is not known."""
        return next((row for row in self.rows if fnmatchcase(model, row.pattern)), None)


def _longest_first(rows: list[PriceRow] | tuple[PriceRow, ...]) -> list[PriceRow]:
    return sorted(rows, key=lambda row: (-len(row.pattern), row.pattern))
