"""Steps of an agent: replayed where the journal has them, made and recorded where it has not.

An effect's intent is recorded before it is done. What a crash leaves is an intent without an outcome; what
is done then is what the effect was declared as. Another request than the recorded one is a divergence: by
the run's setting `on_divergence` the task goes on from there (`go_on`), or fails (`fail`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import anyio
from pydantic import JsonValue

from agents.agent import (
    AgentFailure,
    EffectUnknown,
    Happened,
    KeptAside,
    Priced,
    Reconcile,
    StepDiverged,
)
from agents.branches import BRANCH, within
from agents.journal import Draft, EffectRefused, InvalidStep, Journal, Request, canonical
from agents.replay import EffectPlace, Entry
from agents.waiting import Waits
from protocol.ids import derive
from protocol.messages import Divergence, EffectKind, Intent, Usage

FRESH_SECONDS = 1.0
"""An intent that was confirmed longer ago is confirmed again before its effect: the worker may have slept."""
SHOWN_CHARACTERS = 2_000
ONE_TOOL_CALL = Usage(tool_calls=1)

GO_ON = "go on"
FAIL = "fail"
HAPPENED = "happened"
NOT_HAPPENED = "did not happen"

Replayed = Callable[[Usage], None]


class Steps:
    """Steps of one attempt of a task. `replayed` is told what each replayed step had cost."""

    def __init__(self, journal: Journal, waits: Waits, replayed: Replayed) -> None:
        self._journal = journal
        self._replay = journal.replay
        self._waits = waits
        self._replayed = replayed
        self._policy = _policy(journal.grant.settings)
        self._aside: list[tuple[str, Draft]] = []
        self._met: Entry | None = None
        """The model's reply that was replayed last, if none was made after it."""

    async def step(
        self,
        path: str,
        content: JsonValue,
        call: Callable[[], Awaitable[JsonValue | Priced]],
        usage: Usage | None,
    ) -> JsonValue:
        """The recorded value of this occurrence of a request, or that of `call`, recorded."""
        branch = BRANCH.get()
        request = Request(within(branch, path), content)
        with self._waits.moves():
            await self._journal.load()
            place = self._replay.value(request.path, request.digest)
            if place.entry is not None:
                self._replayed(place.entry.step.usage)
                if place.entry.step.kind == "model":
                    self._met = place.entry
                return await self._journal.value_of(place.entry.step)
        if place.instead is not None:
            await self._diverge(request, place.instead, branch)
        with self._waits.moves():
            return await self._made(request, place.occurrence, branch, call, usage)

    async def reconsider(self, reason: str) -> None:
        """Sets the reply aside that was met again and is of no use: the next attempt asks anew.

        One that this attempt has asked for itself stays for the next, which then has it for a record; and so
        does one that led to an effect, or of a run that is to go on from nothing.
        """
        met, self._met = self._met, None
        if met is None or self._policy == "fail" or self._replay.led_to_effects(met):
            return
        recorded = await self._journal.text_of(met)
        divergence = Divergence(
            number=met.number,
            recorded=recorded,
            asked=f"the same anew, for the reply is of no use: {reason[:SHOWN_CHARACTERS]}",
            verdict="went on",
            set_aside=(met.number,),
        )
        raw = canonical(met.step.path, "divergence", divergence.model_dump(mode="json"))
        request = Request(met.step.path, recorded)
        await self._journal.record(Draft("divergence", request, raw, met.number, tells=False))
        self._replay.leave(divergence)

    async def _made(
        self,
        request: Request,
        occurrence: int,
        branch: str,
        call: Callable[[], Awaitable[JsonValue | Priced]],
        usage: Usage | None,
    ) -> JsonValue:
        under_way = self._replay.begin(request.path)
        self._met = None
        try:
            with self._waits.calls():
                outcome = await call()
        except KeptAside as kept:
            self._replay.fail(request.path, request.digest)
            raw = canonical(request.path, "value", kept.value)
            aside = Draft("model", request, raw, occurrence, kept.usage, under_way.together)
            self._aside.append((branch, aside))
            raise
        except Exception:
            self._replay.fail(request.path, request.digest)
            raise
        finally:
            self._replay.end(under_way)
        value, spent = (outcome.value, outcome.usage) if isinstance(outcome, Priced) else (outcome, usage)
        draft = Draft(
            "pure" if spent is None or spent.tool_calls else "model",
            request,
            canonical(request.path, "value", value),
            occurrence,
            spent or Usage(),
            under_way.together,
            self._replay.take_failed(request.path),
        )
        await self._journal.record(draft)
        return draft.value

    async def effect(
        self,
        path: str,
        content: JsonValue,
        call: Callable[[str], Awaitable[JsonValue]],
        kind: EffectKind,
        reconcile: Reconcile | None,
    ) -> JsonValue:
        """The recorded value of an effect, or that of `call`, whose intent is recorded before."""
        if (kind == "reconcilable") != (reconcile is not None):
            raise InvalidStep(
                f"effect {path!r}: `reconcile` belongs to reconcilable effects, and only to them"
            )
        branch = BRANCH.get()
        request = Request(within(branch, path), content)
        with self._waits.moves():
            await self._journal.load()
        place = await self._effect_place(request, branch)
        if place.effect is not None:
            self._replayed(place.effect.step.usage)
            return await self._journal.value_of(place.effect.step)
        key = self._key(request.path, place.ordinal)
        happened = None
        if place.intent is None:
            intent = Intent(effect=kind, key=key)
        else:
            intent = Intent.model_validate(place.intent.step.value)
            happened = await self._unknown(intent, request, place.ordinal, reconcile)
        with self._waits.moves():
            if happened is None:
                await self._intend(intent, request, place, branch)
                with self._waits.calls():
                    happened = Happened(await call(key))
            raw = canonical(request.path, "value", happened.value)
            done = Draft("effect", request, raw, place.ordinal, ONE_TOOL_CALL, tells=False)
            await self._journal.record(done)
            return done.value

    async def _effect_place(self, request: Request, branch: str) -> EffectPlace:
        while True:
            place = self._replay.effect(request.path)
            intent = place.intent
            if intent is None or intent.step.request == request.digest or self._replay.is_pinned(intent):
                return place
            await self._diverge(request, intent, branch)

    def _key(self, path: str, ordinal: int) -> str:
        grant = self._journal.grant
        return derive("effect", grant.run, grant.task, path, str(ordinal))

    async def _intend(self, intent: Intent, request: Request, place: EffectPlace, branch: str) -> None:
        """Returns once the intent is recorded and was confirmed a moment ago.

        :raises AgentFailure: (user) when the leader will not record it.
        """
        raw = canonical(request.path, "intent", intent.model_dump(mode="json"))
        draft = Draft("intent", request, raw, place.ordinal)
        asked_at = anyio.current_time()
        try:
            if place.intent is None:
                await self._journal.record(*self._take_aside(branch), draft)
            else:
                await self._journal.confirm(draft)
            while anyio.current_time() - asked_at > FRESH_SECONDS:
                asked_at = anyio.current_time()
                await self._journal.confirm(draft)
        except EffectRefused as refused:
            raise AgentFailure("user", f"{request.path}: {refused}") from refused

    def _take_aside(self, branch: str) -> list[Draft]:
        """Failures that the program went on in spite of: here, in parts of this, in what this is part of."""
        mine = [(other, draft) for other, draft in self._aside if _related(other, branch)]
        self._aside = [one for one in self._aside if not _related(one[0], branch)]
        for _, draft in mine:
            self._replay.recorded(draft.request.path, draft.request.digest)
        return [draft for _, draft in mine]

    async def _unknown(
        self, intent: Intent, request: Request, ordinal: int, reconcile: Reconcile | None
    ) -> Happened | None:
        """What became of an effect whose outcome was lost; None where it is to be done (again)."""
        if intent.effect == "unsafe":
            return await self._told_by_a_person(intent, request, ordinal)
        if intent.effect == "reconcilable":
            if reconcile is None:
                raise InvalidStep(
                    f"effect {request.path!r} was recorded as reconcilable, without `reconcile`"
                )
            with self._waits.calls():
                return await reconcile(intent.key)
        return None

    async def _told_by_a_person(self, intent: Intent, request: Request, ordinal: int) -> Happened | None:
        question = (
            f"Did this happen? {request.path} ({ordinal}) was about to be done when its outcome was lost. "
            f"Its key is {intent.key}. Its request: {request.text[:SHOWN_CHARACTERS]}"
        )
        answer = await self._waits.decision(
            self._journal, f"unknown/{request.path}/{ordinal}", {"key": intent.key}, question
        )
        match answer:
            case "happened":
                return Happened()
            case "did not happen":
                return None
            case {"happened": value}:
                return Happened(value)
            case _:
                raise EffectUnknown(request.path, f"the answer was {answer!r}"[:SHOWN_CHARACTERS])

    async def _diverge(self, request: Request, instead: Entry, branch: str) -> None:
        """Records that another request has come; returns if the task may go on.

        :raises StepDiverged: if it may not.
        """
        with self._waits.moves():
            recorded = await self._journal.text_of(instead)
        effects = self._replay.effects_after(instead, branch)
        if instead.step.kind == "intent" and not self._replay.is_shared(instead):
            effects = (instead, *effects)
        reason = "the run's setting on_divergence is `fail`" if self._policy == "fail" else ""
        if effects and not reason:
            reason = await self._held_back(request, instead, recorded, effects)
        divergence = Divergence(
            number=instead.number,
            recorded=recorded,
            asked=request.text,
            verdict="failed" if reason else "went on",
            set_aside=() if reason else tuple(self._replay.values_from(instead, branch)),
        )
        raw = canonical(request.path, "divergence", divergence.model_dump(mode="json"))
        with self._waits.moves():
            draft = Draft("divergence", request, raw, instead.number, tells=False)
            await self._journal.record(draft)
        if reason:
            raise StepDiverged(request.path, reason)
        self._replay.leave(divergence)

    async def _held_back(
        self, request: Request, instead: Entry, recorded: str, effects: Sequence[Entry]
    ) -> str:
        """Asks a person, since effects were recorded after the place; why not to go on, or nothing."""
        done = ", ".join(f"{one.step.path} ({one.step.occurrence})" for one in effects)[:SHOWN_CHARACTERS]
        question = (
            f"May the task go on? At step {instead.number}, {request.path}, it asks something else than the "
            f"journal has, and these effects were recorded after it: {done}. They are neither undone nor "
            f"repeated. Recorded: {recorded[:SHOWN_CHARACTERS]} Asked: {request.text[:SHOWN_CHARACTERS]}"
        )
        path = f"divergence/{request.path}/{instead.number}"
        asked: Mapping[str, JsonValue] = {"request": request.digest}
        answer = await self._waits.decision(self._journal, path, asked, question, choices=(GO_ON, FAIL))
        return "" if answer == GO_ON else "a person said so"


def _related(one: str, other: str) -> bool:
    """Whether one branch is the other, or a part of it."""
    return not one or not other or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _policy(settings: Mapping[str, JsonValue]) -> Literal["go_on", "fail"]:
    """:raises AgentFailure: (user) for a setting that is none."""
    match settings.get("on_divergence", "go_on"):
        case "go_on":
            return "go_on"
        case "fail":
            return "fail"
        case other:
            raise AgentFailure("user", f"setting on_divergence: {other!r} is neither `go_on` nor `fail`")
