"""What an agent is: a function from a context to a discovery, with declared types.

Declared by `@agent("explore", publishes=[Passage])` above `async def explore(context: Context) -> Discovery`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, JsonValue

from protocol.artifacts import Artifact, ArtifactRegistry
from protocol.errors import InvalidAgent
from protocol.ids import ANY, BUILD_PATTERN, TOKEN_PATTERN
from protocol.messages import NO_USAGE, EffectKind, Failure, FollowUp, Id, Usage
from protocol.prices import PriceTable

Payload_co = TypeVar("Payload_co", bound=BaseModel, covariant=True)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Posting:
    """An artifact to post, where its payload alone does not say enough.

    `key` makes its id independent of the order of posting; `text` is what full-text queries find it by.
    """

    payload: BaseModel
    key: str | None = None
    tags: tuple[str, ...] = ()
    visibility: tuple[Id, ...] = ()
    parents: tuple[Id, ...] = ()
    correlation: Id | None = None
    text: str = ""
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a visit of a direction brought. `reward` in [0, 1]: what the frontier learns from."""

    artifacts: Sequence[BaseModel | Posting] = ()
    reward: float = 0.0
    follow_ups: Sequence[FollowUp] = ()
    exhausted: bool = False
    """Nothing more is to be found in this direction."""
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Priced:
    """The value of a step together with what it has cost."""

    value: JsonValue
    usage: Usage


@dataclass(frozen=True, slots=True)
class Happened:
    """What a tool's `reconcile` has found out: the effect did happen, and this is its value."""

    value: JsonValue = None


Reconcile = Callable[[str], Awaitable[Happened | None]]
"""Asks the target of an effect, by the effect's key, whether it happened; None is a definite no."""


@dataclass(frozen=True, slots=True)
class Found(Generic[Payload_co]):
    """An artifact together with its typed payload."""

    artifact: Artifact
    payload: Payload_co

    @property
    def id(self) -> str:
        return self.artifact.id


class View(Protocol):
    """The board as one agent may see it: bounded, paged, newest first."""

    async def get(self, ids: Sequence[str]) -> Sequence[Artifact]:
        """Artifacts by id; those that are absent or hidden from this agent are left out."""
        ...

    async def query(
        self,
        *,
        type: type[BaseModel] | str | None = None,
        tag: str | None = None,
        producer: str | None = None,
        correlation: str | None = None,
        text: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 50,
        cursor: int | None = None,
    ) -> tuple[Sequence[Artifact], int | None]:
        """One page and the cursor of the next (None at the end)."""
        ...

    async def all(self, payload: type[Payload_co], *, limit: int = 10_000) -> Sequence[Found[Payload_co]]:
        """Every artifact of a type, newest first, up to `limit`, with its body fetched and typed."""
        ...


class Context(Protocol):
    """What an agent knows of its task, and what it may do besides returning a discovery."""

    run: str
    task: str
    attempt: int
    visit: int
    """Number of this visit of the direction, from 1."""
    agent: str
    direction: str
    goal: str
    topic: str
    inputs: Sequence[Artifact]
    settings: Mapping[str, JsonValue]
    deadline_ms: int | None
    prices: PriceTable
    board: View

    def load(self, artifact: Artifact, payload: type[Payload_co]) -> Payload_co:
        """The typed payload of an artifact. :raises UnknownArtifactType:, pydantic.ValidationError."""
        ...

    async def step(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[], Awaitable[JsonValue | Priced]],
        *,
        usage: Usage | None = None,
    ) -> JsonValue:
        """A pure or model step of the journal: recorded once, replayed on a later attempt.

        The value must be JSON, or `Priced`; with a `usage` the step is a model call. A step with the same
        path and request is told from the next by its occurrence. A call that raises is made again by
        another attempt, unless it raised `KeptAside`.
        :raises StepDiverged: when the journal has a step with another request, and may not be left.
        """
        ...

    async def effect(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        kind: EffectKind = "unsafe",
        reconcile: Reconcile | None = None,
    ) -> JsonValue:
        """Does something that others see, once: its intent is recorded before, its value after.

        `call` is handed the effect's key, which is the same in every attempt. An intent without a value
        is what a crash leaves; `kind` says what is done then. A call that raises `AgentFailure` leaves one
        too, since nobody knows what it did.
        :raises StepDiverged: as `step` does.
        :raises EffectUnknown: when a person could not say either whether it happened.
        """
        ...

    def branch(self, name: str) -> AbstractContextManager[None]:
        """Steps within have paths of their own: `name` and a slash before each.

        Give each concurrent part of a task one, so that their steps cannot be mistaken for each other's.
        """
        ...

    async def ask(self, agent: str, question: str) -> JsonValue:
        """Asks another agent of the run; the answer is the payload of the first artifact that it posts.

        As every wait, it holds no worker: the task is suspended, and run again once there is an answer.
        :raises InquiryFailed: when the agent came to nothing.
        """
        ...

    async def ask_human(
        self,
        question: str,
        *,
        choices: Sequence[str] = (),
        timeout: timedelta | None = None,
        approves: JsonValue = None,
    ) -> JsonValue:
        """Asks a person. With `approves`, the answer holds for this very value alone.

        :raises WaitTimedOut: when nobody has answered in time.
        :raises InquiryFailed: when the person answers with a failure.
        """
        ...

    async def wait_signal(self, name: str, *, timeout: timedelta | None = None) -> JsonValue:
        """Waits for a signal of this name, sent to the run while it waits; returns the signal's value.

        :raises WaitTimedOut: when it does not come in time.
        """
        ...

    async def sleep(self, seconds: float | None = None, *, until_ms: int | None = None) -> None:
        """Sleeps for so long, or until a moment of the coordinator's wall clock."""
        ...

    def provider(self, name: str) -> AbstractAsyncContextManager["ProviderCall"]:
        """Around one call of a service that many tasks need, such as a model's provider.

        The swarm has one circuit breaker for it: a capacity or transient AgentFailure that leaves the block,
        or what the block says of its call, may open it. Calls of journaled models are within such blocks.

        :raises ProviderDown: where it lets no call through, before the block; or after it has been opened.
        """
        ...

    def permit(self, model: str) -> AbstractAsyncContextManager["Permit"]:
        """Around one call of a model: it waits until the swarm's limit of the model has room for it.

        The block says what its call took; where nothing is said, a limit of tokens counts none. Calls of
        journaled models are within such blocks.
        :raises ModelBusy: before the block, where there is none for some time.
        """
        ...

    def gauge(self, name: str, value: float) -> None:
        """Shows a number in the metrics of the worker: the last one told under a name.

        Names are few, and hold no ids: each is a series of `swarmboard_worker_agent_value`.
        """
        ...

    def progress(self) -> None:
        """Says that the task moves; a task without progress is reported to the operator."""
        ...


class AgentFailure(Exception):
    """Raised by an agent to say how it failed. Anything else that it raises is a bug (dead-lettered)."""

    def __init__(
        self,
        kind: Literal["user", "capacity", "transient", "bug"],
        message: str,
        *,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


class ProviderDown(AgentFailure):
    """A provider does not answer, or asks for patience: its circuit breaker lets no call through.

    Not caught, the task pauses until it does, without using up an attempt.
    """

    def __init__(self, provider: str, reason: str, *, retry_after: timedelta) -> None:
        super().__init__("capacity", f"provider {provider}: {reason}", retry_after=retry_after)
        self.provider = provider


class ModelBusy(AgentFailure):
    """The swarm's limit of a model is used up.

    Not caught, the task pauses, without using up an attempt.
    """

    def __init__(self, model: str, retry_after: timedelta) -> None:
        super().__init__("capacity", f"model {model}: the swarm's limit is used up", retry_after=retry_after)


class ProviderCall(Protocol):
    """A call of a provider that is under way."""

    def answered(self) -> None:
        """The provider has answered, whatever is raised now: a bad request is no fault of its own."""
        ...

    def failed(self, reason: str, *, limited: bool = False, retry_after: timedelta | None = None) -> None:
        """It has not, or with an error of its own; or it is `limited`, and asks for patience."""
        ...


class Permit(Protocol):
    """The right to make one call of a model, while it is made."""

    def took(self, tokens: int) -> None:
        """The call was answered, and took so many tokens, in and out."""
        ...


class WaitTimedOut(AgentFailure):
    """Nobody answered in time. Not caught, it fails the task: another attempt would see the same."""

    def __init__(self, path: str) -> None:
        super().__init__("user", f"{path}: no answer in time")


class InquiryFailed(AgentFailure):
    """The answer is a failure. Not caught, it fails the task: another attempt would see the same."""

    def __init__(self, path: str, failure: Failure) -> None:
        super().__init__("user", f"{path}: {failure.message}")
        self.failure = failure


class StepDiverged(AgentFailure):
    """The journal has a step with another request, and the run's policy or a person says no further."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__("user", f"{path}: the journal has another request: {reason}")


class UnusableReply(AgentFailure):
    """What a model replied is of no use, though the call went well: not to be parsed, or not what was wanted.

    Not caught, the task is tried again. Once an attempt meets the recorded reply again, it sets it aside, and
    the next one asks anew.
    """

    def __init__(self, message: str) -> None:
        super().__init__("transient", message)


class EffectUnknown(AgentFailure):
    """Whether an effect happened is not known, and will not be."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__("user", f"{path}: nobody knows whether it happened: {reason}")


class KeptAside(Exception):
    """Raised by a step's call, from the error that it stands for, when a program may go on in spite of it.

    `value` is recorded as the step's value once an effect follows, so that what led to the effect can be
    replayed. Until then another attempt makes the call again.
    """

    def __init__(self, value: JsonValue, usage: Usage) -> None:
        super().__init__("a call failed in a way that may pass")
        self.value = value
        self.usage = usage


AgentFunction = Callable[[Context], Awaitable[Discovery]] | Callable[[Context], Discovery]


@dataclass(frozen=True, slots=True)
class Agent:
    """A declared agent. `runs_in`: `loop` for async functions, `thread` for blocking ones, `process`
    for those that keep the interpreter busy (module-level functions of a picklable context).
    """

    name: str
    function: AgentFunction
    consumes: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    runs_in: Literal["loop", "thread", "process"] = "loop"
    timeout: timedelta | None = None
    takes_prompts: bool = False
    """Whether it heeds the run's setting `instructions`."""
    build: str = ""
    """Version of its code, as far as journals are concerned; empty leaves it to the worker."""
    compatible: tuple[str, ...] = ()
    """Other builds whose journals it goes on from; `*` for all."""


def agent(
    name: str,
    *,
    consumes: Sequence[type[BaseModel]] = (),
    publishes: Sequence[type[BaseModel]] = (),
    runs_in: Literal["loop", "thread", "process"] = "loop",
    timeout: timedelta | None = None,
    build: str = "",
    compatible: Sequence[str] = (),
) -> Callable[[AgentFunction], Agent]:
    """Declares a function an agent.

    `build` changes when the names, the order or the requests of its steps do: a task that has recorded some
    is only given to the same build, or to one that names it in `compatible`.

    :raises InvalidAgent: for a name that cannot be a subject's token, and for a build that cannot be one.
    :raises UnknownArtifactType: for a payload model that was not registered with `@artifact`.
    """
    if not TOKEN_PATTERN.fullmatch(name):
        raise InvalidAgent(name, "a name is 1 to 64 letters, digits, hyphens and underscores")
    for one in (*([build] if build else []), *(one for one in compatible if one != ANY)):
        if not BUILD_PATTERN.fullmatch(one):
            raise InvalidAgent(name, f"{one!r} is no build: it is 1 to 64 letters, digits and any of _.+-")
    registry = ArtifactRegistry.shared

    def declare(function: AgentFunction) -> Agent:
        return Agent(
            name,
            function,
            tuple(registry.name_of(model)[0] for model in consumes),
            tuple(registry.name_of(model)[0] for model in publishes),
            runs_in,
            timeout,
            build=build,
            compatible=tuple(compatible),
        )

    return declare
