"""How much of an agent or of a model the whole swarm uses at once, and who has which part of it.

A *permit* is the right to have one task of a limited agent under way, or one call of a limited model. Its
holder, a run's leader or a worker, counts the permits that it was ever granted and those that it gave back:
so a message may be lost, repeated or overtaken, and both sides still agree on what is in use.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, model_validator

from protocol.messages import Count, Id, Record

Kind = Literal["agent", "model"]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=300)]
"""An agent's name, or a model's."""


class Limit(BaseModel):
    """What the settings allow of an agent or a model, over all runs, workers and coordinators."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    concurrent: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Tasks, or calls, under way at once."""
    per_minute: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Tasks, or calls, that begin in a minute."""
    tokens_per_minute: Annotated[float, Field(gt=0, le=1_000_000_000)] | None = None
    """Tokens, in and out, of the calls of a minute. Of models only."""

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if self.concurrent is None and self.per_minute is None and self.tokens_per_minute is None:
            raise ValueError("limits nothing: name `concurrent`, `per_minute` or `tokens_per_minute`")
        return self


class LimitTable:
    """Limits by name, which may be a pattern (`*`, `?` and `[…]` as in file names): the longest that fits
    counts, and what it fits shares it.
    """

    def __init__(self, limits: Mapping[str, Limit] = {}) -> None:
        self.limits = dict(sorted(limits.items(), key=lambda item: (-len(item[0]), item[0])))

    def __bool__(self) -> bool:
        return bool(self.limits)

    def find(self, subject: str) -> str | None:
        """The name of the limit that counts for an agent or a model; None where it has none."""
        return next((name for name in self.limits if fnmatchcase(subject, name)), None)


class Portion(Record):
    """What one holder has of a limit for one run."""

    subject: Subject
    run: Id
    holder: Annotated[str, StringConstraints(max_length=64)] = ""
    """The worker that makes the calls; empty where the run's leader counts tasks."""
    since_ms: Count = 0
    """When the holder began: who has begun later under the same name has replaced it."""
    granted: Count = 0
    """Permits that it was ever granted."""
    ended: Count = 0
    """Those of them that it gave back."""
    wants: Count = 0
    """How many more it could use now."""
    calls: Count = 0
    """Those of its calls that were answered, and `tokens` is what they have taken, in and out."""
    tokens: Count = 0
    reserved: float = 0.0
    """Tokens that coordinators have charged for the permits in use."""
    heard_ms: Count = 0
    """When it was last heard of."""

    @property
    def in_use(self) -> int:
        return self.granted - self.ended

    @property
    def key(self) -> tuple[str, str, str]:
        return self.subject, self.run, self.holder


class Quota(Record):
    """A limit with all its portions. Times are of the coordinators' wall clock."""

    kind: Kind
    name: str
    concurrent: Count | None = None
    per_minute: float | None = None
    portions: tuple[Portion, ...] = ()
    turns: dict[str, int] = {}  # noqa: RUF012 - pydantic copies it
    """By run, the number of its next turn: who has had less has the lower one."""
    turn: Count = 0
    """The turn that was given last."""
    taken_until_ms: float = 0.0
    """Until when what has begun takes up the minute."""
    tokens_per_minute: float | None = None
    tokens_per_call: float | None = None
    """What calls take on average, the latest counting most; None before the first was answered."""
    tokens_until_ms: float = 0.0
    """Until when the tokens that were charged take up the minute."""
    tokens_owed: float = 0.0
    """Tokens that calls took beyond what was reserved for them, not yet charged; below 0: less."""

    @property
    def in_use(self) -> int:
        return sum(portion.in_use for portion in self.portions)

    @property
    def waiting(self) -> int:
        return sum(portion.wants for portion in self.portions)

    def portion(self, key: tuple[str, str, str]) -> Portion | None:
        return next((one for one in self.portions if one.key == key), None)


class Quotas(Record):
    """All limits that are in use, as one record; `number` counts its versions."""

    number: Count = 0
    quotas: tuple[Quota, ...] = ()

    def of(self, kind: Kind, name: str) -> Quota:
        known = (one for one in self.quotas if (one.kind, one.name) == (kind, name))
        return next(known, Quota(kind=kind, name=name))


class PermitRequest(Record):
    """What a worker holds and wants of models' limits. It may be repeated: it says how things are."""

    portions: Annotated[tuple[Portion, ...], FailFast(), Field(min_length=1, max_length=1000)]


class PermitReply(Record):
    """The portions with what was granted since."""

    portions: Annotated[tuple[Portion, ...], FailFast(), Field(max_length=1000)] = ()
    unlimited: Annotated[tuple[Subject, ...], FailFast(), Field(max_length=1000)] = ()
    """Models without a limit."""
    due_ms: Count = 0
    """How long it takes at least until a permit that is refused now can be granted by the rate."""
    lease_seconds: float = 15.0
    """For how long the portions are kept for a worker that is not heard of."""
