"""Finding agents: modules, single attributes, and entry points of installed packages."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from agents.agent import Agent
from agents.builds import built
from agents.execution import resolve
from protocol.errors import InvalidAgent, InvalidSettings

GROUP = "swarmboard.agents"
"""Entry points in this group name a module or an attribute, as `--agents` does."""


def load_agents(
    references: Sequence[str], *, build: str = "", compatible: Sequence[str] = ()
) -> Mapping[str, Agent]:
    """Agents by name, with their builds. Without references: those of all entry points.

    :raises InvalidSettings: for a reference that leads to no agent.
    :raises InvalidAgent: for two agents of one name, and for one that cannot run where it says.
    """
    known = {point.name: point for point in entry_points(group=GROUP)}
    found: dict[str, Agent] = {}
    declared: dict[str, Agent] = {}
    for reference in references or tuple(known):
        point = known.get(reference)
        module, agents = _agents_of(reference, point.value if point else reference)
        for agent in agents:
            if declared.setdefault(agent.name, agent) != agent:
                raise InvalidAgent(agent.name, "two agents have this name")
            _check(agent)
            found.setdefault(agent.name, built(agent, module, build, compatible))
    if not found:
        raise InvalidSettings(
            "worker.agents",
            "there is no agent to offer",
            f"name a module, or install one with entry points {GROUP!r}",
        )
    return found


def _agents_of(reference: str, target: str) -> tuple[ModuleType, Iterable[Agent]]:
    module_name, _, attribute = target.replace(" ", "").partition(":")
    module = _import(reference, module_name)
    if attribute:
        return module, [_attribute(reference, module, attribute)]
    agents = [value for value in vars(module).values() if isinstance(value, Agent)]
    if not agents:
        raise InvalidSettings(
            "worker.agents", f"module {module_name!r} declares no agent", "declare one with @agent(...)"
        )
    return module, agents


def _import(reference: str, name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidSettings(
                "worker.agents", f"importing {name!r} failed: {error}", "install what it needs"
            ) from error
        raise InvalidSettings(
            "worker.agents",
            f"{reference!r} is neither a module nor an entry point of {GROUP!r}",
            "correct the name, or add its folder to PYTHONPATH",
        ) from error
    except (Exception, SystemExit) as error:
        raise InvalidSettings(
            "worker.agents",
            f"importing {name!r} failed: {type(error).__name__}: {error}",
            "correct the module",
        ) from error


def _attribute(reference: str, module: ModuleType, attribute: str) -> Agent:
    found: object = getattr(module, attribute, None)
    if not isinstance(found, Agent):
        problem = "does not exist" if found is None else f"is a {type(found).__name__}, not an Agent"
        raise InvalidSettings(
            "worker.agents", f"{reference!r} {problem}", "name an agent that @agent(...) declared"
        )
    return found


def _check(agent: Agent) -> None:
    """An agent that could never run is refused before it takes a task."""
    if agent.runs_in == "loop":
        return
    if inspect.iscoroutinefunction(agent.function):
        raise InvalidAgent(agent.name, f"an async function runs in the loop, not in a {agent.runs_in}")
    if agent.runs_in == "process" and not _importable(agent):
        raise InvalidAgent(agent.name, "what runs in a process must be a function at the top of a module")


def _importable(agent: Agent) -> bool:
    module = getattr(agent.function, "__module__", None)
    name = getattr(agent.function, "__qualname__", "")
    if not isinstance(module, str) or "<" in name:
        return False
    try:
        return resolve(module, name) is agent.function
    except (AttributeError, ImportError):
        return False
