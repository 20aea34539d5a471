"""Who gets which permits of a limit. Pure.

Of permits in use, runs get equal shares (max-min); between runs that have equally many, who was served less
lately comes first, by start-time fair queueing (Goyal, Vin, Cheng, 1996). The rate is that of
`coordinator.decisions.limits`, that of tokens of `coordinator.token_rate`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coordinator.decisions.limits import NO_LIMIT, allowed, burst
from coordinator.token_rate import TokenRate, charged
from coordinator.token_rate import due_ms as tokens_due_ms
from protocol.limits import Limit, Portion, Quota

EAGER_MS = 3_000
"""Who has said for so long what it wants is granted nothing: it may be dead."""
WANTS_LIMIT = 1_000
"""What one holder may want at a time; the rest it wants when it has got these."""
FRESH_MS = 1_000
"""That a holder lives is written down this often at most."""


def told(quota: Quota, portion: Portion, now_ms: int) -> Quota:
    """The quota after a holder has said what it holds and wants.

    The counts only grow, so an older message takes nothing back; where the record has forgotten a holder,
    what it holds is in use again. What it was granted and does not know yet is among what it wants.
    """
    known = quota.portion(portion.key)
    if known is not None and portion.since_ms < known.since_ms:
        return quota
    same = known if known is not None and known.since_ms == portion.since_ms else portion
    ended = max(portion.ended, same.ended)
    granted = max(portion.granted, same.granted, ended)
    wants = min(WANTS_LIMIT, max(0, portion.wants - (granted - portion.granted)))
    spent = {"calls": max(portion.calls, same.calls), "tokens": max(portion.tokens, same.tokens)}
    counts = {"granted": granted, "ended": ended, "wants": wants, **spent}
    if known is not None and now_ms - known.heard_ms < FRESH_MS and known == known.model_copy(update=counts):
        return quota
    after = portion.model_copy(update={**counts, "heard_ms": now_ms})
    quota, after = charged(quota, same, after)
    others = (one for one in quota.portions if one.key != portion.key)
    return quota.model_copy(update={"portions": (*others, after)})


def settled(quota: Quota, limit: Limit, now_ms: int, gone: Callable[[Portion], bool]) -> Quota:
    """The quota once the gone have lost their portions, and what is free is granted to those that want it."""
    kept = [one for one in quota.portions if (one.in_use or one.wants) and not gone(one)]
    round_ = _Round(quota, limit, now_ms, kept)
    round_.grant()
    portions = [round_.after(one) for one in kept]
    present = {one.run for one in portions}
    turns = {run: turn for run, turn in round_.turns.items() if run in present and turn > round_.turn}
    return Quota(
        kind=quota.kind,
        name=quota.name,
        concurrent=limit.concurrent,
        per_minute=limit.per_minute,
        portions=tuple(sorted(portions, key=lambda one: one.key)),
        turns=turns,
        turn=round_.turn,
        taken_until_ms=round_.taken_until_ms,
    ).model_copy(update=round_.tokens.state())


class _Round:
    """One distribution of what is free."""

    def __init__(self, quota: Quota, limit: Limit, now_ms: int, portions: Iterable[Portion]) -> None:
        self._limit = limit
        self._now_ms = now_ms
        self.turns = dict(quota.turns)
        self.turn = quota.turn
        self.taken_until_ms = quota.taken_until_ms
        self.tokens = TokenRate(quota, limit, now_ms)
        self._more: Counter[tuple[str, str, str]] = Counter()
        self._reserved: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        self._held: Counter[str] = Counter()
        self._wants: dict[str, Counter[tuple[str, str, str]]] = {}
        for one in portions:
            self._held[one.run] += one.in_use
            if one.wants and now_ms - one.heard_ms <= EAGER_MS:
                self._wants.setdefault(one.run, Counter())[one.key] = one.wants

    def grant(self) -> None:
        for _ in range(self._room()):
            if not self._wants:
                return
            run = min(self._wants, key=self._precedence)
            self._give(run)

    def _room(self) -> int:
        """How many may be granted now."""
        limit = self._limit
        free = NO_LIMIT if limit.concurrent is None else limit.concurrent - self._held.total()
        if limit.per_minute is not None:
            free = min(free, allowed(self.taken_until_ms, limit.per_minute, self._now_ms))
        return max(0, min(free, self.tokens.room(self._held.total())))

    def _precedence(self, run: str) -> tuple[int, int, str]:
        held = 0 if self._limit.concurrent is None else self._held[run]
        return held, max(self.turns.get(run, 0), self.turn), run

    def _give(self, run: str) -> None:
        """To the holder in the run that wants the most."""
        wants = self._wants[run]
        key, left = max(wants.items(), key=lambda item: (item[1], item[0]))
        wants[key] -= 1
        if left == 1:
            del wants[key]
        if not wants:
            del self._wants[run]
        self._more[key] += 1
        self._reserved[key] += self.tokens.reserve()
        self._held[run] += 1
        self.turn = max(self.turns.get(run, 0), self.turn)
        self.turns[run] = self.turn + 1
        if self._limit.per_minute is not None:
            begun = max(self.taken_until_ms, float(self._now_ms))
            self.taken_until_ms = begun + 60_000 / self._limit.per_minute

    def after(self, portion: Portion) -> Portion:
        more = self._more[portion.key]
        if not more:
            return portion
        granted, wants = portion.granted + more, portion.wants - more
        reserved = portion.reserved + self._reserved[portion.key]
        return portion.model_copy(update={"granted": granted, "wants": wants, "reserved": reserved})


def due_ms(quota: Quota, now_ms: int) -> int:
    """How long it takes until the rates allow another permit; 0 where they do now."""
    return max(_rate_due_ms(quota, now_ms), tokens_due_ms(quota, now_ms))


def _rate_due_ms(quota: Quota, now_ms: int) -> int:
    if quota.per_minute is None or allowed(quota.taken_until_ms, quota.per_minute, now_ms):
        return 0
    spacing = 60_000 / quota.per_minute
    return max(1, round(quota.taken_until_ms - now_ms - (burst(quota.per_minute) - 1) * spacing))


def spare(quota: Quota) -> int:
    """How many more a run could have that wants them: those that nobody uses, or that begin in a second."""
    free = NO_LIMIT if quota.concurrent is None else max(0, quota.concurrent - quota.in_use)
    return free if quota.per_minute is None else min(free, burst(quota.per_minute))


@dataclass(slots=True)
class Allowance:
    """The permits of one limited agent in one run, as its leader knows them."""

    limit: str
    since_ms: int
    granted: int = 0
    ended: int = 0
    spare: int = NO_LIMIT
    """How many more the run could have, as far as is known."""
    _busy: int = 0
    _room: int = 0
    _room_at: int = 0

    def look(self, busy: int) -> None:
        """Takes note of how many tasks are under way, before any is dispatched and after: those that have
        ended have used up their permits.
        """
        self.ended += max(0, self._busy - busy)
        self._busy = busy

    def unused(self, busy: int) -> int:
        """Tasks that may be dispatched, where `busy` are under way."""
        return max(0, self.granted - self.ended - busy)

    def bound(self, room: int, busy: int) -> int:
        """How many of the `room` tasks that could be dispatched may be; it is noted what could."""
        self.look(busy)
        self._room, self._room_at = room, busy
        return min(room, self.unused(busy))

    def told(self, subject: str, run: str, busy: int, demand: int) -> Portion:
        """What to say of it: what is under way, and no more beyond it than can be used now is kept.

        `demand` is what the run could have under way, were there no limit. A new leader finds tasks under
        way for which its predecessor had permits.
        """
        self.look(busy)
        usable = max(0, min(self._room - (busy - self._room_at), demand - busy))
        self.granted = max(self.granted, self.ended + busy)
        kept = min(self.unused(busy), usable)
        self.ended = self.granted - busy - kept
        return Portion(
            subject=subject,
            run=run,
            since_ms=self.since_ms,
            granted=self.granted,
            ended=self.ended,
            wants=usable - kept,
        )

    def learn(self, quota: Quota, subject: str, run: str) -> bool:
        """Whether there is more to dispatch by what the record says.

        Whoever leads counts, also where its clock is behind that of the leader before.
        """
        self.spare = spare(quota)
        portion = quota.portion((subject, run, ""))
        if portion is not None and portion.since_ms > self.since_ms:
            self.since_ms = portion.since_ms + 1
            return False
        if portion is None or portion.since_ms != self.since_ms or portion.granted <= self.granted:
            return False
        self.granted = portion.granted
        return True
