"""What a tool declares of its effect, and the key that it is handed.

`@tool("keyed")` above a function that a model may call. A function without it counts as `unsafe`.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from agents.agent import Happened
from protocol.errors import InvalidAgent
from protocol.messages import EffectKind

Function = TypeVar("Function", bound=Callable[..., object])
ToolKind = Literal["pure", "waits"] | EffectKind
Reconciler = Callable[[str], object]
"""Asks, by an effect's key, whether it happened: `Happened` or None, or an awaitable of one."""

_ATTRIBUTE = "__swarmboard_effect__"
_KEY: ContextVar[str | None] = ContextVar("swarmboard_idempotency_key", default=None)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a tool's author says of its effect."""

    kind: ToolKind
    reconcile: Reconciler | None = None


UNDECLARED = Declared("unsafe")


def tool(kind: ToolKind, *, reconcile: Reconciler | None = None) -> Callable[[Function], Function]:
    """Declares a function's effect. A `pure` one only looks; the others change something that stays.

    One that `waits` does what it does through its task's context, which keeps its own record: it asks a
    person or an agent, or makes steps and effects.

    :raises InvalidAgent: for a kind that is none, or a `reconcile` that is missing or too much.
    """
    if kind not in ("pure", "waits", *get_args(EffectKind)):
        raise InvalidAgent("tool", f"{kind!r} is no kind of effect")
    if (kind == "reconcilable") != (reconcile is not None):
        raise InvalidAgent("tool", "`reconcile` belongs to reconcilable effects, and only to them")

    def declare(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, Declared(kind, reconcile))
        return function

    return declare


def declared(function: Callable[..., object]) -> Declared:
    """What was declared of a function, or of the function behind a bound method."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, Declared) else UNDECLARED


def idempotency_key() -> str:
    """The key of the effect that this tool call is, the same in every attempt.

    :raises LookupError: outside of a tool call with an effect.
    """
    key = _KEY.get()
    if key is None:
        raise LookupError("no effect is under way: declare the tool `keyed`, and let an agent call it")
    return key


@contextmanager
def keyed(key: str) -> Generator[None]:
    """Hands the key to the tool that is called in this block."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


__all__ = ["Declared", "Happened", "declared", "idempotency_key", "keyed", "tool"]
