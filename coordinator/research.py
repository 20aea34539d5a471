"""The main job as a run: which agents, which budget, which first direction; and what comes out of it.

The agents themselves live in `agents.research`; a coordinator knows them by name only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue

from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import DirectionRow, Totals
from coordinator.frontier.explain import observed
from coordinator.records import Records, operator_query
from protocol.artifacts import Artifact
from protocol.errors import InvalidSettings
from protocol.messages import FollowUp

AGENTS_MODULE = "agents.research"
DEFAULT_TASKS = 32
AGENTS = (
    AgentSpec(name="plan", trigger="artifacts", publishes=("plan",), max_visits=1),
    AgentSpec(
        name="explore",
        consumes=("plan",),
        publishes=("passage",),
        least_reward=0.05,
        similarity=0.8,
    ),
    AgentSpec(name="verify", trigger="artifacts", consumes=("passage",), publishes=("finding", "rejected")),
    AgentSpec(name="report", trigger="finish", consumes=("finding", "rejected"), publishes=("report",)),
)


def research_spec(
    run: str,
    question: str,
    corpus: Sequence[Path],
    *,
    budget: Budget,
    deadline_ms: int | None = None,
    settings: Mapping[str, JsonValue],
) -> RunSpec:
    """The run that answers a question from the files of a corpus. `settings` are for the agents.

    :raises InvalidSettings: for an empty question, or a corpus path that is not there.
    """
    if not question.strip():
        raise InvalidSettings("QUESTION", "is empty", "ask something")
    for path in corpus:
        if not path.exists():
            raise InvalidSettings("--corpus", f"{path} does not exist", "name files or folders that do")
    paths: list[JsonValue] = [str(path.resolve()) for path in corpus]
    return RunSpec(
        run=run,
        goal=question,
        agents=AGENTS,
        roots=(FollowUp(agent="plan", topic=question[:2000], max_visits=1),),
        budget=budget,
        deadline_ms=deadline_ms,
        settings={"corpus": paths, **settings},
    )


async def report_of(records: Records, run: str, *, now_ms: int) -> tuple[Artifact, dict[str, Any]] | None:
    """The run's report artifact and its payload; None while there is none."""
    async for artifact in records.artifacts(run, operator_query(type="report"), now_ms=now_ms):
        return artifact, cast("dict[str, Any]", await records.payload(run, artifact))
    return None


def outcome(
    totals: Totals,
    question: str,
    directions: Mapping[str, DirectionRow],
    report: Mapping[str, Any] | None,
    *,
    path: str | None,
) -> dict[str, Any]:
    """What `run --json` prints."""
    seconds = ((totals.ended_ms or totals.created_ms) - totals.created_ms) / 1000
    keys = ("path", "start_line", "end_line", "quote", "direction", "reward", "artifact")
    return {
        "run": totals.run,
        "status": totals.status,
        "question": question,
        "answer": report["answer"] if report else None,
        "findings": [{key: found.get(key) for key in keys} for found in report["findings"]] if report else [],
        "directions": [
            {
                "topic": row.topic,
                "parent": _topic(directions, row.parent),
                "visits": row.visits,
                "mean_reward": observed(row),
            }
            for row in directions.values()
            if row.agent == "explore"
        ],
        "tasks": totals.tasks,
        "usage": totals.usage.model_dump(),
        "seconds": seconds,
        "report": path,
        "warnings": report.get("warnings", []) if report else [],
    }


def _topic(directions: Mapping[str, DirectionRow], identity: str | None) -> str | None:
    row = directions.get(identity or "")
    return row.topic if row else None
