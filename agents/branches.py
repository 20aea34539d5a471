"""Concurrent parts of a task, each with step paths of its own."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from agents.journal import InvalidStep
from protocol.ids import TOKEN_PATTERN

BRANCH: ContextVar[str] = ContextVar("swarmboard_branch", default="")
"""The branch of the task that runs here, its parts joined by slashes; empty for the trunk."""


@contextmanager
def branch(name: str) -> Generator[None]:
    """:raises InvalidStep: for a name that is no token."""
    if not TOKEN_PATTERN.fullmatch(name):
        raise InvalidStep(f"branch {name!r}: a name is 1 to 64 letters, digits, hyphens and underscores")
    outer = BRANCH.get()
    token = BRANCH.set(within(outer, name))
    try:
        yield
    finally:
        BRANCH.reset(token)


def within(branch: str, path: str) -> str:
    """The path of a step, or of a branch, in a branch."""
    return f"{branch}/{path}" if branch else path
