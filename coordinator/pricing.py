"""Prices as the settings give them, and budgets that cannot hold because a price is not known."""

from blackboard.spec import RunSpec
from coordinator.settings import Settings
from protocol.prices import PriceTable
from protocol.settings import Loaded

OPTION = "prices.models"


def table_of(loaded: Loaded[Settings]) -> PriceTable:
    """The shipped prices under those of the settings."""
    return PriceTable(loaded.settings.prices.models, loaded.sources[OPTION])


def unpriced(spec: RunSpec, table: PriceTable) -> str:
    """Why a budget of dollars may not hold: the run's model has no price. Empty where nothing is wrong."""
    model = spec.settings.get("model")
    budgets = (spec.budget, *(agent.budget for agent in spec.agents if agent.budget is not None))
    limited = any(budget.cost_microdollars is not None for budget in budgets)
    if not limited or not isinstance(model, str) or not model or table.find(model) is not None:
        return ""
    return (
        f"the price of {model} is not known here, so the budget of dollars may not hold: what a call costs "
        f"may stay unknown, and then counts as it was reserved; add it under [{OPTION}] of swarmboard.toml, "
        "or give the agents an `estimate`"
    )
