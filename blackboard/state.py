"""The state of one run: rows, and the indexes over them that decisions need.

Only `blackboard.evolve` changes it. Artifacts and journal steps pass through to the store and are
not kept here, apart from the digests of the steps of open tasks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from blackboard.budgets import Account, meters
from blackboard.events import Choice
from blackboard.spec import AgentSpec, Amounts, RunSpec
from blackboard.store import RowKind
from protocol.artifacts import Artifact
from protocol.messages import NO_USAGE, Answer, Failure, Step, Usage, Wait

TaskStatus = Literal["queued", "dispatched", "running", "waiting", "done", "failed", "cancelled", "dead"]
OPEN: frozenset[TaskStatus] = frozenset(("queued", "dispatched", "running", "waiting"))


@dataclass(slots=True)
class TaskRow:
    """A task: one visit of one direction. `token`, `worker`, `incarnation` and `grant` are its lease."""

    id: str
    direction: str
    agent: str
    visit: int
    created_ms: int
    began: int = 0
    """Number of the event that dispatched it first."""
    ended: int = 0
    """Number of the event that settled it; 0 while it is open."""
    status: TaskStatus = "queued"
    attempt: int = 0
    """Number of the newest dispatch."""
    tries: int = 0
    """Dispatches that count towards the limit; a release or a capacity refusal does not."""
    token: str = ""
    worker: str | None = None
    incarnation: str | None = None
    grant: int = 0
    build: str = ""
    """Build of the agent that claimed it last; empty where its worker told none."""
    written_by: str = ""
    """Build that recorded the newest step: only compatible ones go on from there."""
    dispatched_ms: int = 0
    claimed_ms: int = 0
    settled_ms: int = 0
    not_before_ms: int = 0
    reason: str = ""
    reward_micro: int = 0
    usage: Usage = NO_USAGE
    shared: Usage = NO_USAGE
    """That part of `usage` which another run has paid, whose history this one shares."""
    failure: Failure | None = None
    artifacts: int = 0
    steps: int = 0
    shared_steps: int = 0
    """So many of its first steps were made in that run."""
    unknown: int = 0
    """Recorded intents without an outcome."""
    divergences: int = 0
    """Times that another request came than the recorded one."""
    reserved: Amounts | None = None
    """What is reserved for its dispatch, where the run has a budget of such things."""
    stop: Literal["", "asked", "confirmed", "uncertain"] = ""
    """Where it was cancelled while it ran: whether its worker is known to have stopped it."""


@dataclass(slots=True)
class DirectionRow:
    """An arm of the frontier. Sums are integers, so that they are exact in any order of results."""

    id: str
    agent: str
    topic: str
    opened: int
    """Ordinal among the run's directions, from 1: the older comes first in a tie."""
    opened_ms: int
    inputs: tuple[str, ...] = ()
    parent: str | None = None
    parents: tuple[str, ...] = ()
    """Further parents that proposed the same thing."""
    task: str | None = None
    inquiry: str | None = None
    """The inquiry that its one visit is to answer."""
    prior_micro: int | None = None
    max_visits: int | None = None
    numbered: int = 0
    """Visits created; the next gets this number plus one, and a number is never reused."""
    in_flight: int = 0
    visits: int = 0
    """Visits that told a reward."""
    expired: int = 0
    """Visits that were cancelled and told nothing."""
    reward_sum_micro: int = 0
    reward_squares: int = 0
    """Sum of squared rewards, in micro-units squared."""
    reward_best_micro: int = 0
    cost_sum_micro: int = 0
    first_visit: int = 0
    """Number of the lowest visit that told, and in `first_micro` what it told; 0 while none has."""
    first_micro: int = 0
    last_visit: int = 0
    """Number of the highest visit that told."""
    yields: tuple[int, ...] = ()
    """Count and sum of the rewards of each block of visit numbers, oldest first (`blackboard.rewards`)."""
    retired: str | None = None
    """Why no further visit will be made; None while open."""
    retired_by: str | None = None
    """The task whose end retired it, if one did."""

    @property
    def open(self) -> bool:
        """Whether a further visit may be made."""
        return self.retired is None and (self.max_visits is None or self.numbered < self.max_visits)


@dataclass(slots=True)
class InquiryRow:
    """What a task asked, and how that ended."""

    id: str
    task: str
    asker: str
    wait: Wait
    asked_ms: int
    until_ms: int | None = None
    """When it ends without an answer."""
    direction: str | None = None
    """Where an agent is asked: the direction whose visit answers it."""
    answered_ms: int | None = None
    answerer: str | None = None
    answer: Answer | None = None
    withdrawn: str | None = None
    """Why nobody waits for it any more."""

    @property
    def open(self) -> bool:
        return self.answer is None and self.withdrawn is None


@dataclass(slots=True)
class Totals:
    """The run's running record: status, counters, what was spent."""

    run: str
    created_ms: int
    status: Literal["running", "finishing", "done", "failed", "cancelled"] = "running"
    ended_ms: int | None = None
    reason: str = ""
    leader: str = ""
    takeovers: int = 0
    rounds: int = 0
    """How often the finishing agents begin anew, because the run was reopened."""
    lost_events: int = 0
    """Events that a store which came back older had lost; more than 0 means a rollback incident."""
    exploring: bool = True
    cancelling: bool = False
    paused: str | None = None
    """Why nothing new begins; None while it may."""
    directions: int = 0
    artifacts: int = 0
    types: dict[str, int] = field(default_factory=dict[str, int])
    """Artifacts by type."""
    choices: int = 0
    """First dispatches made: the number of the next decision."""
    explored: int = 0
    """Visits of explored directions created, for the budget."""
    refused: int = 0
    tasks: dict[str, int] = field(default_factory=dict[str, int])
    """Settled tasks by status."""
    finished: dict[str, int] = field(default_factory=dict[str, int])
    """Those of them that are of finishing agents."""
    first_failure: str = ""
    """How the first task of another agent ended badly, since tasks were last retried."""
    usage: Usage = NO_USAGE
    shared: Usage = NO_USAGE
    """What the shared history had cost the run that it comes from; not in `usage`."""
    paces: dict[str, int] = field(default_factory=dict[str, int])
    """By agent with a rate: until when its dispatches up to now take, in wall-clock milliseconds."""
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    """By agent, where the run or an agent of it has a budget of what tasks use."""

    @property
    def ended(self) -> bool:
        return self.ended_ms is not None


Row = TaskRow | DirectionRow | InquiryRow | Totals | RunSpec | Step | Choice
StepKey = tuple[str, str, str, int]
"""Kind class, path, request digest and occurrence: what a journal step is matched by."""


class Changes(NamedTuple):
    """What events did to a state; the last two are digests of bodies that steps name, and name no longer."""

    rows: dict[tuple[RowKind, str], Row]
    marks: dict[tuple[RowKind, str], bool]
    posted: list[Artifact]
    named: list[str]
    unnamed: list[str]


@dataclass(slots=True)
class RunState:
    """Rows by id, and indexes. `changes`, `marks` and `posted` collect what the next append must write.

    A leader forgets tasks that have ended, and their inquiries, once that is committed
    (`coordinator.recall`): of them a state has what live says, and more only where it was folded from a log.
    """

    spec: RunSpec
    totals: Totals
    head: int = 0
    tasks: dict[str, TaskRow] = field(default_factory=dict[str, TaskRow])
    directions: dict[str, DirectionRow] = field(default_factory=dict[str, DirectionRow])
    inquiries: dict[str, InquiryRow] = field(default_factory=dict[str, InquiryRow])
    agents: dict[str, AgentSpec] = field(init=False)
    limited: frozenset[str] = field(init=False)
    """Agents with a limit of their own on what is under way at once, or on the rate."""
    finishing: frozenset[str] = field(init=False)
    """Agents that run when all else has ended."""
    builds: Mapping[str, str] = field(init=False)
    """Agents of which the run asks for a build, and which."""
    metered: bool = field(init=False)
    """Whether anything that tasks use has a limit."""
    queued: dict[str, None] = field(default_factory=dict[str, None])
    dispatched: dict[str, None] = field(default_factory=dict[str, None])
    waiting: dict[str, None] = field(default_factory=dict[str, None])
    held: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    """Running tasks by worker."""
    stopping: dict[str, None] = field(default_factory=dict[str, None])
    """Cancelled tasks whose worker has not said yet that it has stopped them."""
    busy: Counter[str] = field(default_factory=Counter[str])
    """Dispatched and running tasks by agent."""
    choosable: Counter[str] = field(default_factory=Counter[str])
    """Open directions by agent, those of inquiries apart."""
    asked: dict[str, None] = field(default_factory=dict[str, None])
    """Open directions of inquiries, oldest first: each has its one visit to come."""
    asking: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    """Open inquiries by the task that asked."""
    questions: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    """Inquiries by the task that asked, those that have ended too."""
    timers: dict[str, int] = field(default_factory=dict[str, int])
    """When open inquiries end by time, by inquiry."""
    journals: dict[str, dict[StepKey, str]] = field(default_factory=dict[str, dict[StepKey, str]])
    """Digests of the recorded steps of open tasks; a task with steps that is absent was not read yet."""
    changes: dict[tuple[RowKind, str], Row] = field(default_factory=dict[tuple[RowKind, str], Row])
    marks: dict[tuple[RowKind, str], bool] = field(default_factory=dict[tuple[RowKind, str], bool])
    """Whether rows that are names only are there from now on: of the kinds `live`, `journal`, `dead`."""
    journaled: int = 0
    """Tasks with a journal that have ended well since this state was made."""
    posted: list[Artifact] = field(default_factory=list[Artifact])
    named: list[str] = field(default_factory=list[str])
    """Digests of bodies that steps name from now on, each as often as they do."""
    unnamed: list[str] = field(default_factory=list[str])
    """Those that steps name no longer."""

    def __post_init__(self) -> None:
        self.agents = {agent.name: agent for agent in self.spec.agents}
        self.limited = frozenset(
            agent.name for agent in self.spec.agents if agent.max_running or agent.per_minute
        )
        self.finishing = frozenset(agent.name for agent in self.spec.agents if agent.trigger == "finish")
        self.builds = self.spec.builds
        self.metered = meters(self.spec.budget) or any(agent.budget for agent in self.spec.agents)

    @property
    def open_tasks(self) -> int:
        held = sum(map(len, self.held.values()))
        return len(self.queued) + len(self.dispatched) + len(self.waiting) + held

    def take_changes(self) -> Changes:
        """Hands over what changed since the last call."""
        taken = Changes(self.changes, self.marks, self.posted, self.named, self.unnamed)
        self.changes, self.marks, self.posted, self.named, self.unnamed = {}, {}, [], [], []
        return taken


def restore(
    head: int,
    spec: RunSpec,
    totals: Totals,
    tasks: Iterable[TaskRow],
    directions: Iterable[DirectionRow],
    inquiries: Iterable[InquiryRow],
) -> RunState:
    """The state that the rows are the record of, indexes rebuilt."""
    state = RunState(spec=spec, totals=totals, head=head)
    for direction in sorted(directions, key=lambda row: row.opened):
        state.directions[direction.id] = direction
        index_direction(state, direction)
    for task in sorted(tasks, key=lambda row: (row.created_ms, row.id)):
        state.tasks[task.id] = task
        index_task(state, task)
        if task.stop == "asked":
            state.stopping[task.id] = None
    for inquiry in sorted(inquiries, key=lambda row: (row.asked_ms, row.id)):
        state.inquiries[inquiry.id] = inquiry
        state.questions.setdefault(inquiry.task, {})[inquiry.id] = None
        if inquiry.open:
            index_inquiry(state, inquiry)
    return state


def index_direction(state: RunState, row: DirectionRow) -> None:
    """Enters a direction that may be visited into the index of its kind."""
    if not row.open:
        return
    if row.inquiry is None:
        state.choosable[row.agent] += 1
    else:
        state.asked[row.id] = None


def unindex_direction(state: RunState, row: DirectionRow) -> None:
    """Takes out a direction that may be visited no more."""
    if row.inquiry is None:
        state.choosable[row.agent] -= 1
    else:
        del state.asked[row.id]


def index_inquiry(state: RunState, row: InquiryRow) -> None:
    """Enters an open inquiry."""
    state.asking.setdefault(row.task, {})[row.id] = None
    if row.until_ms is not None:
        state.timers[row.id] = row.until_ms


def unindex_inquiry(state: RunState, row: InquiryRow) -> None:
    """Takes out an inquiry that is open no more."""
    asking = state.asking[row.task]
    del asking[row.id]
    if not asking:
        del state.asking[row.task]
    state.timers.pop(row.id, None)


def index_task(state: RunState, task: TaskRow) -> None:
    """Enters a task into the index of its status."""
    match task.status:
        case "queued":
            state.queued[task.id] = None
        case "dispatched":
            state.dispatched[task.id] = None
            state.busy[task.agent] += 1
        case "waiting":
            state.waiting[task.id] = None
        case "running":
            state.held.setdefault(task.worker or "", {})[task.id] = None
            state.busy[task.agent] += 1
        case _:
            pass


def unindex_task(state: RunState, task: TaskRow) -> None:
    """Takes a task out of the index of its status."""
    match task.status:
        case "queued":
            del state.queued[task.id]
        case "dispatched":
            del state.dispatched[task.id]
            state.busy[task.agent] -= 1
        case "waiting":
            del state.waiting[task.id]
        case "running":
            held = state.held[task.worker or ""]
            del held[task.id]
            if not held:
                del state.held[task.worker or ""]
            state.busy[task.agent] -= 1
        case _:
            pass


def lives(state: RunState, task: TaskRow) -> bool:
    """Whether decisions may depend on a task's row: it is open, its stop is awaited, or it is of the end.

    How finishing agents' own tasks have ended decides how the run ends.
    """
    if task.status in OPEN or task.stop == "asked":
        return True
    return task.agent in state.finishing and state.directions[task.direction].inquiry is None


def mark(state: RunState, task: TaskRow) -> None:
    """Notes that a task lives from now on, or no longer, and what it has asked with it."""
    alive = lives(state, task)
    state.marks["live", f"task:{task.id}"] = alive
    for inquiry in state.questions.get(task.id, ()):
        state.marks["live", f"inquiry:{inquiry}"] = alive


def living(state: RunState) -> set[str]:
    """The keys of the rows of kind `live`, as the store should hold them."""
    tasks = [task for task in state.tasks.values() if lives(state, task)]
    asked = [inquiry for task in tasks for inquiry in state.questions.get(task.id, ())]
    return {f"task:{task.id}" for task in tasks} | {f"inquiry:{inquiry}" for inquiry in asked}


def snapshot(state: RunState) -> Mapping[tuple[RowKind, str], Row]:
    """All rows of the state, as the store should hold them (steps and choices apart)."""
    rows: dict[tuple[RowKind, str], Row] = {("run", "spec"): state.spec, ("run", "totals"): state.totals}
    rows |= {("task", key): row for key, row in state.tasks.items()}
    rows |= {("direction", key): row for key, row in state.directions.items()}
    rows |= {("inquiry", key): row for key, row in state.inquiries.items()}
    return rows
