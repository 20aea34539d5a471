"""What can happen to a run. Events record every choice made, so that replaying them needs no policy.

Rewards are integer micro-units, so that sums are exact in any order.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, dataclass_transform

from pydantic import ConfigDict, Field, with_config

from blackboard.spec import Amounts, RunSpec
from protocol.artifacts import Artifact
from protocol.messages import NO_USAGE, Answer, Failure, Id, Step, Usage, Wait
from protocol.plain import Class, plain

MICRO = 1_000_000
Ending = Literal["done", "failed", "cancelled", "dead"]
LENIENT = ConfigDict(allow_inf_nan=False, extra="ignore")


@with_config(LENIENT)
@dataclass(slots=True)
class Term:
    """How one direction stood when a choice was made. Rewards and indexes are floats for people.

    A plain record like the rows, not a model: each choice builds four, from values that need no check.
    """

    direction: Id
    index: float
    mean: float
    visits: int
    in_flight: int
    bonus: float = 0.0
    prior: float | None = None
    restarts: int = 0
    """1 where only recent visits count, because rewards have dropped."""
    counted: int = 0
    """Visits that count in the mean: the recent ones after a drop, and those that the prior stands for."""


@with_config(LENIENT)
@dataclass(slots=True)
class Choice:
    """Why a direction was chosen: its terms, and up to three runners-up with theirs."""

    policy: str
    chosen: Term
    runners_up: tuple[Term, ...] = ()
    open_directions: int = 0
    started: int = 0
    """Visits completed or in flight when it was made."""
    dispersion: float | None = None
    """How far rewards scatter within directions, as a share of coin flips' variance."""
    decay: float | None = None
    """A direction's next reward over its last, pooled; at most 1."""
    surprise: float | None = None
    """What first visits told, less what the priors of such directions had promised, on average."""


@dataclass_transform(frozen_default=True)
def event(made: Class) -> Class:
    return with_config(LENIENT)(plain(made))


@event
class Event:
    """Base of all events. `at_ms` is the leader's wall clock."""

    kind: ClassVar[str]
    at_ms: int


@event
class RunCreated(Event):
    kind = "run_created"
    spec: RunSpec


@event
class LeaderChanged(Event):
    """A coordinator took the lead. `lost_events` > 0: the store had come back older (a rollback incident)."""

    kind = "leader_changed"
    coordinator: Id
    lost_events: int = 0


@event
class DirectionOpened(Event):
    kind = "direction_opened"
    direction: Id
    agent: Id
    topic: str = ""
    inputs: tuple[Id, ...] = ()
    parent: Id | None = None
    task: Id | None = None
    """The task that proposed it; None for a root."""
    prior_micro: int | None = None
    max_visits: int | None = None
    inquiry: Id | None = None
    """The inquiry that it is to answer: it has one visit, ahead of new work and outside of the frontier."""


@event
class DirectionProposedAgain(Event):
    """A follow-up that is a direction already: the further parent is recorded.

    `topic` and `similarity` are set where the topics are only nearly the same.
    """

    kind = "direction_proposed_again"
    direction: Id
    parent: Id
    task: Id
    topic: str = ""
    similarity: float | None = None


@event
class FollowUpRefused(Event):
    """A follow-up that cannot become a direction, with the reason."""

    kind = "follow_up_refused"
    task: Id
    agent: Id
    topic: str
    reason: str


@event
class DirectionRetired(Event):
    kind = "direction_retired"
    direction: Id
    reason: str
    task: Id | None = None
    """The task whose end retired it; None where its own statistics, or its question, did."""


@event
class DirectionReopened(Event):
    """A direction that the end of a task had retired may be visited again: the task is retried."""

    kind = "direction_reopened"
    direction: Id


@event
class TaskDispatched(Event):
    """A new visit of a direction (attempt 1), or a queued task again. The token is the fence."""

    kind = "task_dispatched"
    task: Id
    direction: Id
    agent: Id
    visit: int
    attempt: int
    token: Id
    choice: Annotated[Choice | None, Field(exclude=True)] = None
    """Why this direction. Not in the log: it has a row of its own, which no trim of the log takes."""
    reserved: Amounts | None = None
    """What is reserved for it, where the run has a budget of such things."""


@event
class TasksClaimed(Event):
    """A worker holds these tasks: the answer to one claim, whose number is `grant`."""

    kind = "tasks_claimed"
    tasks: dict[Id, Id]
    """The token of each."""
    worker: Id
    incarnation: Id
    grant: int
    builds: dict[Id, str] | None = None
    """By agent, the build of its code there; None where the worker told none."""


@event
class TaskRequeued(Event):
    """A dispatch that came to nothing; the task waits for the next, ahead of new work."""

    kind = "task_requeued"
    task: Id
    token: Id
    cause: Literal[
        "silent",
        "restarted",
        "unlisted",
        "released",
        "transient",
        "capacity",
        "answered",
        "paused",
        "stranded",
        "forked",
    ]
    reason: str
    uses_attempt: bool = True
    not_before_ms: int = 0
    usage: Usage = NO_USAGE
    failure: Failure | None = None


@event
class TaskSuspended(Event):
    """A task waits for inquiries; nobody holds it until one of them has ended."""

    kind = "task_suspended"
    task: Id
    token: Id
    inquiries: tuple[Id, ...]
    usage: Usage = NO_USAGE


@event
class TaskSettled(Event):
    """The end of a task. `reward_micro` is told to the frontier unless the task was cancelled.

    `worker` is whose result it was; None when the task ended without one, and its token with it.
    `token` is empty where the task waited for its next dispatch.
    """

    kind = "task_settled"
    task: Id
    token: Id | Literal[""]
    status: Ending
    reason: str = ""
    worker: Id | None = None
    reward_micro: int = 0
    usage: Usage = NO_USAGE
    failure: Failure | None = None
    artifacts: int = 0


@event
class TasksRetried(Event):
    """Tasks that ended without a result begin again, under their own ids and with their journals.

    What they told the frontier is taken back: they tell when they end again. Attempts go on counting;
    those that use up the limit count anew.
    """

    kind = "tasks_retried"
    tasks: tuple[Id, ...]
    reason: str


@event
class TaskStopped(Event):
    """What became of a run of a task that was cancelled: its worker has stopped it, or nobody knows."""

    kind = "task_stopped"
    task: Id
    worker: Id
    verdict: Literal["confirmed", "uncertain"]
    reason: str = ""


@event
class ArtifactPosted(Event):
    kind = "artifact_posted"
    artifact: Artifact


@event
class ResultRefused(Event):
    """A result under an old token, or for a task that has ended (P3)."""

    kind = "result_refused"
    task: Id
    token: Id
    worker: Id
    reason: str


@event
class StepsRecorded(Event):
    kind = "steps_recorded"
    task: Id
    token: Id
    first: int
    """Number of the first of these steps in the task's journal, from 0."""
    steps: tuple[Step, ...]


@event
class JournalShared(Event):
    """Steps of another run that a task has when it begins here; `RunSpec.origin` counts them."""

    kind = "journal_shared"
    task: Id
    steps: tuple[Step, ...]


@with_config(LENIENT)
@dataclass(slots=True)
class CondensedJournal:
    """Steps of a task that ended with event `ended`, by number, as they are kept from now on."""

    task: Id
    ended: int
    numbers: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    bodies: tuple[Id, ...] = ()
    """Digests of what these steps had put apart and name no longer, each as often as they did."""


@event
class JournalsCondensed(Event):
    """Of journals whose tasks have ended well, what only another run of the task could need is gone."""

    kind = "journals_condensed"
    journals: tuple[CondensedJournal, ...]


@event
class HistoryShared(Event):
    """All before this was made, and paid, in the run that this one comes from (`RunSpec.origin`)."""

    kind = "history_shared"
    tasks: int
    """Tasks that had ended there."""


@event
class WorkerLost(Event):
    """A worker was silent too long, restarted, or no longer lists what it held."""

    kind = "worker_lost"
    worker: Id
    incarnation: Id
    reason: str


@event
class InquiryAsked(Event):
    kind = "inquiry_asked"
    inquiry: Id
    task: Id
    asker: Id
    wait: Wait
    until_ms: int | None = None
    """When it ends without an answer."""


@event
class InquiryAnswered(Event):
    """The first answer, or the wait's end without one. It is the next step of the asking task's journal.

    If the task waits, it is queued again, ahead of new work; its dispatches up to now used no attempt.
    """

    kind = "inquiry_answered"
    inquiry: Id
    answerer: Id
    answer: Answer


@event
class InquiryWithdrawn(Event):
    """Nobody waits for it any more: an answer would be refused."""

    kind = "inquiry_withdrawn"
    inquiry: Id
    reason: str


@event
class ExplorationStopped(Event):
    """No further visits of explored directions: the budget or the deadline."""

    kind = "exploration_stopped"
    reason: str


@event
class RunPaused(Event):
    """Nothing new begins until the run is resumed; what runs may finish."""

    kind = "run_paused"
    reason: str


@event
class RunResumed(Event):
    kind = "run_resumed"


@event
class RunCancelled(Event):
    """Somebody asked for the end; open tasks are cancelled, and the finishing agents do not run."""

    kind = "run_cancelled"
    reason: str


@event
class RunFinishing(Event):
    """All exploration has ended; the finishing agents' directions follow."""

    kind = "run_finishing"


@event
class RunReopened(Event):
    """A run that had ended goes on, because tasks of it are retried. It explores nothing new.

    `again`: its finishing agents run once more, as what they had reported may change.
    """

    kind = "run_reopened"
    again: bool


@event
class RunEnded(Event):
    kind = "run_ended"
    status: Literal["done", "failed", "cancelled"]
    reason: str


EVENTS: dict[str, type[Event]] = {
    made.kind: made
    for made in (
        RunCreated,
        LeaderChanged,
        DirectionOpened,
        DirectionProposedAgain,
        FollowUpRefused,
        DirectionRetired,
        DirectionReopened,
        TaskDispatched,
        TasksClaimed,
        TaskRequeued,
        TaskSuspended,
        TaskSettled,
        TasksRetried,
        TaskStopped,
        ArtifactPosted,
        ResultRefused,
        StepsRecorded,
        JournalShared,
        JournalsCondensed,
        HistoryShared,
        WorkerLost,
        InquiryAsked,
        InquiryAnswered,
        InquiryWithdrawn,
        ExplorationStopped,
        RunPaused,
        RunResumed,
        RunCancelled,
        RunFinishing,
        RunReopened,
        RunEnded,
    )
}
