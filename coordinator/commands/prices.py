"""`coordinator prices`: what models cost, and where each price comes from."""

from collections.abc import Mapping

import click

from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table
from coordinator.pricing import table_of
from protocol.errors import NotFound
from protocol.prices import PriceRow


@click.command("prices", cls=Verb)
@click.argument("model", required=False)
@pass_invocation
def command(invocation: Invocation, model: str | None) -> None:
    """List the prices of models in dollars for a million tokens, or show the one that counts for MODEL.

    One's own, under [prices.models] of a settings file, win over the shipped ones; the first row that
    matches a model counts.
    """
    table = table_of(prepare(invocation))
    row = None if model is None else table.find(model)
    if model is not None and row is None:
        raise NotFound("price of", model)
    rows = table.rows if row is None else (row,)
    if invocation.json:
        emit_json([as_json(one) for one in rows])
        return
    columns = ("model", "in", "cached", "out", "origin")
    prices = [(one.price.input, _cached(one), one.price.output) for one in rows]
    emit_table(columns, [(one.pattern, *price, one.origin) for one, price in zip(rows, prices, strict=True)])


def as_json(row: PriceRow) -> Mapping[str, object]:
    return {
        "model": row.pattern,
        "input": row.price.input,
        "cached": _cached(row),
        "output": row.price.output,
        "origin": row.origin,
    }


def _cached(row: PriceRow) -> float:
    return row.price.input if row.price.cached is None else row.price.cached
