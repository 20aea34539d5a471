"""Instructions that a run gives to agents in the place of their own: its setting `instructions`.

By the agent's name, or by that, a dot and the name of one of its predictors.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from agents.agent import AgentFailure

SETTING = "instructions"
OWN = "{instructions}"
"""Stands in a text for the instructions that it replaces."""


def prompts_of(agent: str, settings: Mapping[str, JsonValue]) -> Mapping[str, str]:
    """An agent's instructions by predictor; under the empty name those of its only one.

    :raises AgentFailure: (user) for a setting that is no object of texts.
    """
    given = settings.get(SETTING)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise AgentFailure("user", f"setting {SETTING}: is no object of texts by agent")
    found: dict[str, str] = {}
    for name, text in given.items():
        whose, _, predictor = name.partition(".")
        if whose != agent:
            continue
        if not isinstance(text, str):
            raise AgentFailure("user", f"setting {SETTING}.{name}: is no text")
        found[predictor] = text
    return found


def check_unread(agent: str, settings: Mapping[str, JsonValue]) -> None:
    """:raises AgentFailure: (user) when there are instructions for an agent that takes none."""
    if prompts_of(agent, settings):
        raise AgentFailure(
            "user",
            f"setting {SETTING}: agent {agent!r} is no DSPy module and takes none; leave them out, or change "
            "the agent",
        )
