"""What a run is asked to do: goal, agents, budget, first directions. Written once, never changed."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from protocol.messages import Count, FollowUp, Id, Record, Unit

Amounts = tuple[int, int, int, int]
"""Model calls, tool calls, tokens, micro-dollars."""


class Budget(Record):
    """Limits of a run, or of one agent in it; None is no limit.

    Of a run, `tasks` counts visits of explored directions; of an agent, all its visits.
    """

    tasks: Annotated[int, Field(ge=1)] | None = None
    model_calls: Count | None = None
    tool_calls: Count | None = None
    tokens: Count | None = None
    """In and out."""
    cost_microdollars: Count | None = None
    wall_seconds: Annotated[float, Field(gt=0)] | None = None
    """Nothing new begins so long after the run was created, pauses included."""


class Estimate(Record):
    """The most that one task of an agent uses: so much is reserved for it when it is dispatched."""

    model_calls: Count = 0
    tool_calls: Count = 0
    tokens: Count = 0
    cost_microdollars: Count = 0

    @property
    def amounts(self) -> Amounts:
        return self.model_calls, self.tool_calls, self.tokens, self.cost_microdollars


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
    max_running: Annotated[int, Field(ge=1)] | None = None
    """Tasks of the agent that are dispatched or running at once, over all workers."""
    per_minute: Annotated[float, Field(gt=0)] | None = None
    """Dispatches of the agent's tasks per minute, spread evenly; a second one of the same task counts too."""
    budget: Budget | None = None
    """Limits of this agent alone, besides those of the run."""
    estimate: Estimate | None = None
    """None: what its tasks have used on average so far, and nothing for the first."""


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
