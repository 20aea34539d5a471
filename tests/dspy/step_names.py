"""Names of the steps of DSPy's own modules, by program of `test_replay`: see `test_step_names`."""

from collections.abc import Sequence

from protocol.messages import Step

STEP_NAMES: dict[str, list[str]] = {
    "Predict": ["model program"],
    "ChainOfThought": ["model program"],
    "nested": ["model program"],
    "BestOfN": ["model program"],
    "Refine": ["model program"],
    "MultiChainComparison": ["model program"],
    "RLM": ["model program"],
    "in turn": ["model program"],
    "ReAct": ["effect program/calculator", "intent program/calculator", "model program"],
    "Parallel": [
        f"model Predict-{branch}/program"
        for branch in (
            *("2353094f", "3fe2630d", "46934cd0", "87ab9746"),
            *("ae22866d", "da75c416", "e9ea9ad4", "eab86ce4"),
        )
    ],
}


def names_of(steps: Sequence[Step]) -> list[str]:
    """Kind and path of the steps, each once, sorted."""
    return sorted({f"{step.kind} {step.path}" for step in steps})
