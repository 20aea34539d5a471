"""The messages of DESIGN §4, as frozen pydantic models.

Unknown fields are ignored, so that a newer sender can talk to an older reader. Money is in
micro-dollars, rewards on the wire are floats in [0, 1] (integer micro-units once committed),
times are UTC epoch milliseconds unless the name says `_seconds`. Collections fail at their first
bad item, so that a hostile message cannot buy a million complaints.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id, or the name of an agent or worker: one token of a subject."""

Unit = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]

TOPIC_LIMIT = 2_000
WAITS_LIMIT = 1_000
INLINE_BODY_BYTES = 64 * 1024
VALUE_BYTES = 16 * 1024
"""What of a step is larger travels by claim check, so that a batch of small ones fits a message."""
CHUNK_BYTES = 512 * 1024
REPLY_BYTES = 256 * 1024

Topic = Annotated[str, StringConstraints(max_length=TOPIC_LIMIT)]

ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:@\[\]-]{1,200}$")]
"""`openai`, or `openai@host:port` where the calls go to an address of their own."""


BuildId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")]
"""Names a version of an agent's code."""
Builds = dict[
    Id,
    Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_.+-]{1,64})$")], ...],
        FailFast(),
        Field(min_length=1, max_length=100),
    ],
]
"""By agent: its build, then those whose journals it goes on from; `*` stands for all."""


class Record(BaseModel):
    """Base of everything that crosses a process boundary.

    A model is built when the first of its kind is made or read: no process has to do with all of them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    @classmethod
    def trusted(cls, **values: object) -> Self:
        """One made of values that were checked before, in a row or another message: nothing is checked again.

        For messages that leave with every task. Fields that are not given travel as their defaults.
        """
        made = cls.__new__(cls)
        for name, value in (("__dict__", values), ("__pydantic_fields_set__", values.keys()), *_UNUSED):
            object.__setattr__(made, name, value)
        return made


_UNUSED = (("__pydantic_extra__", None), ("__pydantic_private__", None))


class Usage(Record):  # noqa: PLW1641 - pydantic makes the hash
    """What a task has cost. `cost_microdollars` is None where a price is unknown: unknown is not 0."""

    model_calls: Count = 0
    tool_calls: Count = 0
    tokens_in: Count = 0
    tokens_out: Count = 0
    tokens_cached: Count = 0
    """Those of `tokens_in` that the provider had in its prompt cache."""
    cost_microdollars: Count | None = 0
    busy_ms: Count = 0

    def __eq__(self, other: object) -> bool:
        # Serialisers ask it of every field that may be at its default, which mostly is the very same object.
        return self is other or (isinstance(other, Usage) and self.__dict__ == other.__dict__)

    @property
    def is_nothing(self) -> bool:
        return not (
            self.model_calls
            or self.tool_calls
            or self.tokens_in
            or self.tokens_out
            or self.cost_microdollars != 0
            or self.busy_ms
        )

    def plus(self, other: "Usage") -> "Usage":
        if other is NO_USAGE or other.is_nothing:
            return self
        cost = None
        if self.cost_microdollars is not None and other.cost_microdollars is not None:
            cost = self.cost_microdollars + other.cost_microdollars
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            tool_calls=self.tool_calls + other.tool_calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            tokens_cached=self.tokens_cached + other.tokens_cached,
            cost_microdollars=cost,
            busy_ms=self.busy_ms + other.busy_ms,
        )


NO_USAGE = Usage()
"""The default wherever usage is told, one object: so it is recognised at the least cost."""


class Lease(Record):
    """A reference to one dispatch: the task and its fencing token (epoch)."""

    task: Id
    token: Id


class SwarmTask(Record):
    """One dispatch of one task, from the leader to a worker that offers `agent`."""

    run: Id
    task: Id
    attempt: Annotated[int, Field(ge=1)]
    token: Id
    agent: Id
    direction: Id
    deadline_ms: Count | None = None
    topic: Topic = ""
    inputs: Annotated[tuple[Id, ...], FailFast()] = ()


class BodyRef(Record):
    """A claim check: SHA-256 in hex and the size of a body that was put before."""

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Count


class ArtifactDraft(Record):
    """An artifact as its author writes it; its id follows from the task, the type and the key.

    Without `key` the ordinal among the task's artifacts of that type serves. Exactly one of
    `payload` and `body` is set: a payload over INLINE_BODY_BYTES is `put` first and named by digest.
    """

    type: Id
    version: Annotated[int, Field(ge=1)] = 1
    key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    payload: JsonValue = None
    body: BodyRef | None = None
    tags: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...],
        FailFast(),
        Field(max_length=32),
    ] = ()
    visibility: Annotated[tuple[Id, ...], FailFast(), Field(max_length=64)] = ()
    """Agents that may see it besides its producer; empty means everybody."""
    parents: Annotated[tuple[Id, ...], FailFast(), Field(max_length=1000)] = ()
    correlation: Id | None = None
    text: Annotated[str, StringConstraints(max_length=4_000)] = ""
    """What full-text queries find it by; empty means not at all."""
    expires_ms: Count | None = None


class FollowUp(Record):
    """A direction that a discovery proposes. `prior` is the author's guess of its reward."""

    agent: Id
    topic: Topic = ""
    inputs: Annotated[tuple[Id, ...], FailFast(), Field(max_length=1000)] = ()
    prior: Unit | None = None
    max_visits: Annotated[int, Field(ge=1)] | None = None


class Failure(Record):
    """Why a task did not end well, by who must act (DESIGN §5).

    `user`: bad input, fails at once. `capacity`: rate limit or quota, tried again without using
    up an attempt. `transient`: tried again with backoff. `bug`: dead-lettered with its traceback.
    """

    kind: Literal["user", "capacity", "transient", "bug"]
    message: Annotated[str, StringConstraints(max_length=4_000)]
    traceback: Annotated[str, StringConstraints(max_length=16_000)] = ""
    retry_after_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    provider: ProviderName | None = None
    """The provider that does not answer: the task comes again once its circuit breaker lets it."""


class Wait(Record):
    """What a suspended task waits for. `path`, `request` and `occurrence` are the key of its answer's step.

    `agent`: an answer of the run's agent `target`. `human`: one of a person. `signal`: the signal
    named `target`. `time`: a moment. The wait ends without an answer `timeout_ms` after it was first
    asked, or at `until_ms`; for `time` that end is the answer.
    """

    kind: Literal["agent", "human", "signal", "time"]
    target: Id
    path: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    request: Annotated[str, StringConstraints(max_length=64)] = ""
    occurrence: Count = 0
    question: Annotated[str, StringConstraints(max_length=16_000)] = ""
    choices: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=200)], ...], FailFast(), Field(max_length=100)
    ] = ()
    """The only answers that are accepted; empty means any."""
    approves: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of what an answer would approve; the answer must carry it."""
    timeout_ms: Count | None = None
    until_ms: Count | None = None


class SwarmDiscovery(Record):
    """The result of a task, from a worker to the run's leader.

    `done` brings artifacts and a reward; `failed` brings a failure; `released` gives the task
    back unfinished (a draining worker) without using up an attempt; `waiting` suspends it until
    one of its `waits` has ended.
    """

    run: Id
    task: Id
    token: Id
    worker: Id
    incarnation: Id
    outcome: Literal["done", "failed", "released", "waiting"] = "done"
    artifacts: Annotated[tuple[ArtifactDraft, ...], FailFast(), Field(max_length=10_000)] = ()
    reward: Unit = 0.0
    follow_ups: Annotated[tuple[FollowUp, ...], FailFast(), Field(max_length=10_000)] = ()
    exhausted: bool = False
    """Nothing more is to be found in this direction: it retires."""
    usage: Usage = NO_USAGE
    failure: Failure | None = None
    waits: Annotated[tuple[Wait, ...], FailFast(), Field(max_length=WAITS_LIMIT)] = ()
    free_slots: Count = 0
    body: BodyRef | None = None
    """Set when artifacts, follow-ups and waits travel by claim check: the body is their JSON."""


class SwarmDiscoveries(Record):
    """Results of one worker in one run that were ready at the same time: one message instead of many.

    Each counts on its own; the message is acknowledged when all of them are committed.
    """

    discoveries: Annotated[tuple[SwarmDiscovery, ...], FailFast(), Field(min_length=1, max_length=1000)]


class Held(Lease):
    """A lease as its holder lists it."""

    run: Id
    progress: Count = 0
    state: Literal["running", "finished", "stopping"] = "running"
    """`stopping`: the lease is lost, and what runs under it has not ended yet."""


class SwarmHeartbeat(Record):
    """A worker's pulse.

    `claims_through`: every claim request up to that number has been answered or given up, and what it
    granted is listed in `held` unless the worker no longer has it.
    """

    worker: Id
    incarnation: Id
    status: Literal["alive", "busy", "draining", "error"] = "alive"
    agents: Annotated[tuple[Id, ...], FailFast()] = ()
    slots: Count = 0
    held: Annotated[tuple[Held, ...], FailFast()] = ()
    claims_through: Count = 0
    completed: Count = 0
    failed: Count = 0
    load: Annotated[float, Field(ge=0)] = 0.0
    version: str = ""
    builds: Annotated[Builds, FailFast(), Field(max_length=64)] = {}
    """Of the agents that have one."""
    sent_ms: Count = 0


class SwarmInquiry(Record):
    """The bell for an open inquiry, on the subject of `target`; the record in the run's log is the truth.

    `target` is the agent that is asked, `human`, or the name of a signal.
    """

    run: Id
    inquiry: Id
    asker: Id
    """The agent whose task waits for the answer."""
    task: Id
    wait: Wait
    until_ms: Count | None = None
    """When the wait ends without an answer."""


class SwarmResponse(Record):
    """The answer to an inquiry, or why there is none.

    Whoever publishes one for an open inquiry answers it; the leader publishes those that it has recorded.
    """

    run: Id
    inquiry: Id
    answerer: Id
    answer: JsonValue = None
    failure: Failure | None = None
    approves: str | None = None
    """Digest of what is approved, where the inquiry names one."""


class Answer(Record):
    """How a wait ended: by a value, inline or by digest, by a failure, or by its time."""

    value: JsonValue = None
    body: BodyRef | None = None
    failure: Failure | None = None
    timed_out: bool = False


class Asked(Record):
    """A request as text, told from the request of the step before it on the same path.

    It is that text's first `head` characters, what is given here, and its last `tail` characters; so a
    conversation that grows costs what is new in it. With both 0 it is whole.
    """

    head: Count = 0
    tail: Count = 0
    text: Annotated[str, StringConstraints(max_length=VALUE_BYTES)] = ""
    body: BodyRef | None = None
    """Set when what is new travels by claim check, as UTF-8."""


EffectKind = Literal["idempotent", "keyed", "reconcilable", "unsafe"]
"""What may be done about an effect of which nobody knows whether it happened.

`idempotent`: do it again. `keyed`: do it again under the same key, which its target knows it by.
`reconcilable`: ask its target. `unsafe`: ask a person.
"""


class Intent(Record):
    """The value of an intent's step: what is about to be done, and the key that its target may know it by.

    The key follows from run, task, path and ordinal: it is the same in every attempt.
    """

    effect: EffectKind
    key: Id


class Divergence(Record):
    """The value of a divergence's step: another request came where the journal has step `number`.

    `set_aside` are the numbers of the recorded steps that are not used any more. `verdict` is `failed`
    where the run's policy, or a person, did not let the task go on.
    """

    number: Count
    recorded: str
    asked: str
    verdict: Literal["went on", "failed"]
    set_aside: Annotated[tuple[Count, ...], FailFast()] = ()


class Step(Record):
    """One recorded step of a task's journal.

    Model calls, pure steps and answers match by (`path`, `request`, `occurrence`); intents and effects by
    (`path`, `occurrence`), which counts the effects of the path. An `answer` is recorded by the leader;
    its value is an `Answer`. That of an `intent` is an `Intent`, that of a `divergence` a `Divergence`.
    """

    kind: Literal["pure", "model", "intent", "effect", "answer", "divergence"]
    path: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    request: Annotated[str, StringConstraints(max_length=64)] = ""
    """Digest of the request, without secrets, timeouts and clocks."""
    occurrence: Count = 0
    value: JsonValue = None
    body: BodyRef | None = None
    usage: Usage = NO_USAGE
    asked: Asked | None = None
    together: bool = False
    """Another step of the path was under way meanwhile: their order means nothing."""
    failed: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=64)], ...], FailFast(), Field(max_length=1000)
    ] = ()
    """Digests of requests that failed on this path since its last step: another attempt makes them again."""
    condensed: Annotated[str, StringConstraints(max_length=64)] = ""
    """Digest of a value that is no longer kept, for the task has ended well (`blackboard.condensing`)."""


class Grant(Lease):
    """A granted claim: what the worker needs to run the task. `number` is that of the claim request."""

    number: Annotated[int, Field(ge=1)]
    run: Id
    attempt: int
    agent: Id
    direction: Id
    visit: int
    goal: str = ""
    topic: str = ""
    inputs: tuple[Any, ...] = ()
    """The input artifacts, whole, as far as the reply has room; the rest is `get`-able by id."""
    input_ids: Annotated[tuple[Id, ...], FailFast()] = ()
    settings: dict[str, JsonValue] = {}
    steps: Annotated[tuple[Step, ...], FailFast()] = ()
    steps_more: bool = False
    steps_shared: Count = 0
    """So many of the first steps were made in the run that this one comes from."""
    steps_pinned: bool = False
    """Those answer whatever is asked in their place."""
    deadline_ms: Count | None = None


class Refusal(Lease):
    """A refused claim or discovery, with the reason."""

    reason: str
    elsewhere: bool = False
    """Of a claim: another worker may have it, so its message must come again instead of being settled."""


class ClaimRequest(Record):
    """Claims of one worker for tasks of one run, in one message.

    `number` counts the worker's claim requests over all runs, from 1 in each incarnation.
    """

    worker: Id
    incarnation: Id
    number: Annotated[int, Field(ge=1)]
    leases: Annotated[tuple[Lease, ...], FailFast(), Field(min_length=1, max_length=1000)]
    slots: Count = 0
    free_slots: Count = 0
    builds: Annotated[Builds, FailFast(), Field(max_length=64)] = {}
    """Of the agents that the leases are for, where they have one."""


class ClaimReply(Record):
    grants: Annotated[tuple[Grant, ...], FailFast()] = ()
    refusals: Annotated[tuple[Refusal, ...], FailFast()] = ()


class RecordRequest(Lease):
    """Steps to add to the journal of a held task. The same step again is the same record."""

    worker: Id
    incarnation: Id
    steps: Annotated[tuple[Step, ...], FailFast(), Field(min_length=1, max_length=1000)]


class RecordReply(Record):
    """What became of a request to record.

    `recorded`; `stale`: the lease moved on; `conflict`: the same key, another payload; `refused`: the
    store cannot promise that the intent of an unsafe effect is on disk.
    """

    verdict: Literal["recorded", "stale", "conflict", "refused"]
    reason: str = ""


class StepsRequest(Lease):
    after: Count = 0


class StepsReply(Record):
    steps: Annotated[tuple[Step, ...], FailFast()] = ()
    next: Count | None = None


class PutRequest(Record):
    """One chunk of a body; `offset` in bytes. `data` is base64."""

    digest: str
    size_bytes: Count
    offset: Count
    data: Annotated[str, StringConstraints(max_length=CHUNK_BYTES * 4 // 3 + 4)]


class PutReply(Record):
    """`complete` once every byte is there and the digest was checked."""

    complete: bool
    received_bytes: Count


class GetRequest(Record):
    """Artifacts by id, or a chunk of a body by digest."""

    agent: Id
    artifacts: Annotated[tuple[Id, ...], FailFast(), Field(max_length=1000)] = ()
    digest: str | None = None
    offset: Count = 0


class GetReply(Record):
    artifacts: tuple[Any, ...] = ()
    missing: Annotated[tuple[Id, ...], FailFast()] = ()
    data: str = ""
    size_bytes: Count = 0


class QueryRequest(Record):
    """Artifacts that `agent` may see, newest first. All conditions must hold; `cursor` pages on."""

    agent: Id
    type: Id | None = None
    tag: str | None = None
    producer: Id | None = None
    correlation: Id | None = None
    text: Annotated[str, StringConstraints(max_length=500)] | None = None
    since_ms: Count | None = None
    until_ms: Count | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Count | None = None
    min_position: Count = 0
    """Answer only once the log has reached this position."""


class QueryReply(Record):
    artifacts: tuple[Any, ...] = ()
    cursor: Count | None = None
    """Pass it on for the next page; None at the end."""


class Control(Record):
    """What a coordinator tells a worker.

    `settled` and `stale` are receipts: a worker keeps a finished discovery and publishes it again until it
    has one.
    """

    settled: Annotated[tuple[tuple[Id, Id], ...], FailFast()] = ()
    """Task and token of each discovery that is committed, now or before."""
    stale: Annotated[tuple[Refusal, ...], FailFast()] = ()
    """Discoveries that do not count, which is on record."""
    drop: Annotated[tuple[Lease, ...], FailFast()] = ()
    """Leases that it no longer holds."""
    order: Literal["", "drain", "beat", "reload", "permits"] = ""
    """`permits`: a limit has something for the worker, which should ask."""


class CancelRequest(Record):
    """An operator's request to end a run, or only some of its tasks; what is under way is cancelled."""

    tasks: Annotated[tuple[Id, ...], FailFast(), Field(max_length=1000)] = ()
    """Empty means the run."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = "cancelled by the operator"


class CancelReply(Record):
    """`already_ended` is true where there was nothing left to cancel.

    Workers are asked to stop what `stopping` counts; rows and log say what became of that.
    """

    already_ended: bool
    cancelled: Count = 0
    """Tasks that this ended."""
    stopping: Count = 0
    """Those of them that a worker held."""
    missing: Annotated[tuple[Id, ...], FailFast()] = ()
    """Asked-for tasks that the run does not have."""


class PauseRequest(Record):
    """An operator's request that nothing new begins in a run, what runs may finish; or that it goes on."""

    paused: bool = True
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = "paused by the operator"


class PauseReply(Record):
    """`unchanged`: it was paused already, or not at all. `ended`: it has ended, or is being cancelled."""

    verdict: Literal["paused", "resumed", "unchanged", "ended"]


class RetryRequest(Record):
    """An operator's request to begin tasks again that ended without a result."""

    tasks: Annotated[tuple[Id, ...], FailFast(), Field(max_length=1000)] = ()
    """Empty means all dead letters of the run."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = "retried by the operator"


class NotRetried(Record):
    """A task that does not begin again, with the reason."""

    task: Id
    reason: str


class RetryReply(Record):
    """How many tasks begin again, and the first of those that were asked for and do not."""

    retried: Count = 0
    refused: Annotated[tuple[NotRetried, ...], FailFast()] = ()


class AnswerRequest(Record):
    """An answer to an open inquiry. The first one counts; the same again is the same answer."""

    inquiry: Id
    answerer: Id
    answer: JsonValue = None
    failure: Failure | None = None
    approves: str | None = None
    """Digest of what is approved, where the inquiry names one."""


class AnswerReply(Record):
    """`answered` (recorded, now or before) or `refused`, with the reason."""

    verdict: Literal["answered", "refused"]
    reason: str = ""


class ErrorReply(Record):
    """A refusal of a board request: who must act, the message, and when to try again."""

    error: Literal["user", "operator", "fence", "author"]
    message: str
    retry_after_seconds: float | None = None


class DeadLetter(Record):
    """A task that will not be tried again, for the operator; the record in the log is the truth."""

    run: Id
    task: Id
    agent: Id
    direction: Id
    attempts: int
    reason: str
    failure: Failure | None = None


class Demand(Record):
    """What a leader's run could use, told to the other coordinators every second."""

    coordinator: Id
    run: Id
    wanted: Annotated[dict[Id, Count], FailFast()]
    """Slots that the run could keep busy now, by agent: running, dispatched and ready."""
    head: Count = 0
    """Number of the run's last committed event, so that whoever leads next knows what a store has lost."""
    limits: str = ""
    """Digest of the coordinator's limits of agents and models, which must be the same for all of them."""
    sent_ms: Count = 0
