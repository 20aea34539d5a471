"""Which version of an agent's code a worker runs, as far as journals are concerned.

What the agent declares comes first, then what the worker was told (`--build`), then a digest of the source.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from agents.agent import Agent

DIGEST_BYTES = 6


def built(agent: Agent, module: ModuleType, build: str, compatible: Sequence[str]) -> Agent:
    """The agent with its build settled. `compatible` goes with what the agent itself declares."""
    return replace(
        agent,
        build=agent.build or build or source_build(module),
        compatible=tuple(dict.fromkeys((*agent.compatible, *compatible))),
    )


def source_build(module: ModuleType) -> str:
    """A digest of a module's source: of its file, or of all Python files of a package and their names.

    What it imports from elsewhere is not looked at. Empty where there is no source to read.
    """
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    if folders:
        files = [(str(file.relative_to(one)), file) for one in folders for file in sorted(one.rglob("*.py"))]
    else:
        files = [("", Path(name))] if (name := getattr(module, "__file__", None)) else []
    told = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        for name, file in files:
            source = file.read_bytes()
            told.update(f"{name}\n{len(source)}\n".encode() + source)
    except OSError:
        return ""
    return f"source-{told.hexdigest()}" if files else ""


def told_builds(agents: Mapping[str, Agent]) -> Mapping[str, tuple[str, ...]]:
    """As a worker tells them: by agent, its build, then those whose journals it goes on from."""
    return {name: (agent.build, *agent.compatible) for name, agent in agents.items() if agent.build}
