"""What a run is asked to do: goal, agents, budget, first directions. Written once, never changed."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from protocol.ids import BUILD_PATTERN
from protocol.messages import Count, FollowUp, Id, Record, Unit, Usage

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
    build: Annotated[str, StringConstraints(pattern=f"^({BUILD_PATTERN.pattern})?$")] = ""
    """Only workers that run this build of the agent, or go on from it, get its tasks; empty: those of any."""


class Change(Record):
    """One thing that a run does otherwise than the run that it comes from. `of`: whose, if not the run's."""

    what: Literal["goal", "topic", "input", "model", "prompt", "build"]
    of: str = ""
    was: JsonValue = None
    now: JsonValue = None


class SharedJournal(Record):
    """Recorded steps of another run that a task has when it begins, and what they had cost there."""

    steps: Count
    usage: Usage
    divergences: Count = 0


class Beginning(Record):
    """What a direction begins with that was changed in the run that it comes from, or further back."""

    topic: str
    inputs: tuple[Id, ...] = ()


class Origin(Record):
    """Where a run comes from that shares the history of another.

    `fork`: shared steps answer whatever is asked in their place. `replay`: only the same request again;
    at the first difference the rest of a journal is set aside.
    """

    verb: Literal["fork", "replay"]
    run: Id
    root: Id
    """The first run of the line: ids are derived in its name, so the same thing has one id in all of them."""
    head: Count
    """Number of the source's last event when it was read."""
    task: Id | None = None
    """Where the runs part; None: at the beginning."""
    step: Count | None = None
    """The first step of that task's journal that is not shared; None: the task as a whole."""
    changes: tuple[Change, ...] = ()
    journals: dict[Id, SharedJournal] = Field(default_factory=dict[Id, SharedJournal])
    """Those of tasks that had not ended, by task."""
    inherited: dict[Id, Beginning] = Field(default_factory=dict[Id, Beginning])
    """By direction, which is opened anew: it has the id of what was proposed, and begins as in the source."""

    def is_like(self, other: "Origin") -> bool:
        """Whether both say the same of where a run comes from, whenever they were read."""
        apart = {"head", "journals", "inherited"}
        return self.model_dump(exclude=apart) == other.model_dump(exclude=apart)


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
    origin: Origin | None = None
    """Set by `fork` and `replay` alone."""

    @property
    def namespace(self) -> str:
        """The run in whose name ids are derived."""
        return self.run if self.origin is None else self.origin.root

    def inherited(self, direction: str) -> Beginning | None:
        """What a direction that is opened here begins with, where the run's source was told otherwise."""
        return None if self.origin is None else self.origin.inherited.get(direction)

    @property
    def builds(self) -> dict[str, str]:
        """The builds that the run asks for, by agent."""
        return {agent.name: agent.build for agent in self.agents if agent.build}
