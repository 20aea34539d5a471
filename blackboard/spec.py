"""What a run is asked to do: goal, agents, budget, first directions. Written once, never changed."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from protocol.messages import Count, FollowUp, Id, Record, Unit


class AgentSpec(Record):
    """How a run uses an agent.

    `explore` agents are visited through the frontier, direction by direction. `artifacts` agents
    get one direction per discovery that posts types they consume. `finish` agents run once, in the
    order given, when all else has ended.
    """

    name: Id
    trigger: Literal["explore", "artifacts", "finish"] = "explore"
    consumes: tuple[Id, ...] = ()
    publishes: tuple[Id, ...] = ()
    policy: Id = "adaptive"
    """How the next direction is chosen: a name of `coordinator.frontier.policies`."""
    least_reward: Unit | None = None
    """A direction retires when it is all but certain that a visit earns less; None: never for that."""
    similarity: Annotated[float, Field(gt=0, le=1)] | None = None
    """A follow-up whose topic shares that part of its words with a known one is the same direction;
    None: only when the topics are equal, up to case and spaces."""
    max_visits: Annotated[int, Field(ge=1)] | None = None
    """Visits of one direction; None leaves it to `exhausted` and the budget."""


class Budget(Record):
    """Limits of a run; None is no limit. What is under way when one is reached still ends.

    `tasks` counts visits of explored directions; the others count what settled tasks used.
    """

    tasks: Annotated[int, Field(ge=1)] | None = None
    model_calls: Count | None = None
    tokens: Count | None = None
    cost_microdollars: Count | None = None


class RunSpec(Record):
    """A run as submitted."""

    run: Id
    goal: Annotated[str, StringConstraints(min_length=1, max_length=16_000)]
    agents: Annotated[tuple[AgentSpec, ...], Field(min_length=1, max_length=64)]
    roots: Annotated[tuple[FollowUp, ...], Field(min_length=1, max_length=10_000)]
    budget: Budget = Budget()
    deadline_ms: Count | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Dispatches of one task, after which it is dead-lettered."""
    max_directions: Annotated[int, Field(ge=1)] = 1_000_000
    settings: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Handed to every agent with its claim; no secrets."""
    seed: Count = 0
    keep_seconds: Annotated[float, Field(gt=0)] | None = None
    """How long the run stays readable after its end; None leaves it to the coordinator's settings."""
