"""A DSPy module as an agent.

summarize = dspy_agent("summarize", dspy.Predict(Summarize), consumes=[Page], publishes=Summary)
"""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dspy
from pydantic import BaseModel, JsonValue, ValidationError

from agents.agent import Agent, AgentFailure, Context, Discovery, UnusableReply, agent
from agents.dspy_model import ask, language_model
from agents.dspy_tools import durable
from agents.model_settings import ModelSettings, prepare_environment
from agents.prompts import OWN, SETTING, prompts_of
from protocol.messages import FollowUp

_PROMISED_REWARD = 1.0


def dspy_agent(
    name: str,
    module: dspy.Module,
    *,
    publishes: type[BaseModel],
    consumes: Sequence[type[BaseModel]] = (),
    follow_up_agent: str | None = None,
    timeout: timedelta | None = None,
    build: str = "",
    compatible: Sequence[str] = (),
) -> Agent:
    """Declares a DSPy module an agent; `build` and `compatible` as `agents.agent.agent` has them.

    Input fields are filled by name: `topic` and `goal` from the task, `inputs` with all input
    payloads, others from the first input payload that has a field of the name. The outputs make up
    one artifact of the type `publishes`; an output `reward` becomes the reward (1.0 without one) and
    `follow_ups`, a list of topics, directions of `follow_up_agent`. The run's `model` is asked, or
    the module's own when the run names none. The run's `instructions` take the place of the module's.

    :raises InvalidAgent: for a name that cannot be a subject's token.
    :raises UnknownArtifactType: for a payload model that was not registered with `@artifact`.
    """
    prepared = durable(module)

    async def run(context: Context) -> Discovery:
        settings = ModelSettings.of(context.settings)
        prepare_environment()
        lm = None if settings is None else language_model(settings)
        instructed = _instructed(name, prepared, prompts_of(name, context.settings))
        outputs = await ask(context, f"dspy/{name}", instructed, _inputs(context, instructed), lm)
        try:
            payload = publishes.model_validate(outputs)
        except ValidationError as error:
            raise UnusableReply(f"the model's answer is no {publishes.__name__}: {error}") from error
        return Discovery(
            artifacts=[payload],
            reward=_reward(outputs.get("reward")),
            follow_ups=_follow_ups(outputs.get("follow_ups"), follow_up_agent),
        )

    declared = agent(
        name, consumes=consumes, publishes=[publishes], timeout=timeout, build=build, compatible=compatible
    )(run)
    return replace(declared, takes_prompts=True)


def _instructed(name: str, module: dspy.Module, prompts: Mapping[str, str]) -> dspy.Module:
    """The module itself, or a copy of it whose predictors have other instructions.

    :raises AgentFailure: (user) for a predictor that the module has not.
    """
    if not prompts:
        return module
    copy = module.deepcopy()
    predictors: dict[str, Any] = dict(copy.named_predictors())
    for predictor, text in prompts.items():
        only = next(iter(predictors)) if len(predictors) == 1 else ""
        found = predictors.get(predictor or only)
        if found is None:
            names = ", ".join(f"{name}.{one}" for one in predictors)
            raise AgentFailure(
                "user", f"setting {SETTING}: no predictor {name}.{predictor}; there are {names}"
            )
        own = found.signature.instructions
        found.signature = found.signature.with_instructions(text.replace(OWN, own))
    return copy


def _inputs(context: Context, module: dspy.Module) -> dict[str, JsonValue]:
    payloads = [artifact.payload for artifact in context.inputs]
    known: dict[str, JsonValue] = {}
    for payload in payloads:
        if isinstance(payload, dict):
            known = {**payload, **known}
    known |= {"topic": context.topic, "goal": context.goal, "inputs": payloads}
    wanted = _input_fields(module)
    missing = sorted(wanted - known.keys())
    if missing:
        raise AgentFailure("user", f"nothing fills the input fields {', '.join(missing)}")
    return {field: known[field] for field in sorted(wanted)}


def _input_fields(module: dspy.Module) -> set[str]:
    """What the module as a whole is asked: its signature's input fields, or its first predictor's."""
    predictors: list[Any] = module.predictors()
    signature = getattr(module, "signature", None) or (predictors[0].signature if predictors else None)
    return {"topic", "goal"} if signature is None else set(signature.input_fields)


def _reward(value: JsonValue) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _PROMISED_REWARD
    return min(1.0, max(0.0, float(value)))


def _follow_ups(value: JsonValue, follow_up_agent: str | None) -> list[FollowUp]:
    if follow_up_agent is None or not isinstance(value, list):
        return []
    topics = [item.strip() for item in value if isinstance(item, str) and item.strip()]
    return [FollowUp(agent=follow_up_agent, topic=topic[:2_000]) for topic in topics]
