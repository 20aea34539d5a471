"""What earlier attempts recorded, and how far this attempt has come through it. Pure.

Values match by path, digest of the request and occurrence, so that concurrent siblings may come in any
order; effects match by path and ordinal. Steps that a fork shares with another run are pinned: they answer
another request that comes in their place, too. A request that the journal does not hold, at a place where it
holds another, is a divergence, unless the call failed there before (then it left a gap), or the path's
steps overlapped (then their order means nothing).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.messages import Divergence, Step

Key = tuple[str, str]


@dataclass(slots=True)
class Entry:
    """A recorded step, its number in the journal, and whether this attempt has come to it."""

    number: int
    step: Step
    used: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value belongs: its occurrence, its record, or what the journal has in its place."""

    occurrence: int
    entry: Entry | None
    instead: Entry | None


@dataclass(frozen=True, slots=True)
class EffectPlace:
    """Where an effect belongs: its ordinal on the path, and what is recorded of it."""

    ordinal: int
    intent: Entry | None
    effect: Entry | None


class UnderWay:
    """A step whose call has begun. `together` once another step of its path is under way meanwhile."""

    __slots__ = ("path", "together")

    def __init__(self, path: str, *, together: bool) -> None:
        self.path = path
        self.together = together


class Replay:
    """The journal of one task as one attempt goes through it."""

    def __init__(self, shared: int = 0, *, pinned: bool = False) -> None:
        self._shared = shared
        self._pinned = shared if pinned else 0
        self._values: dict[Key, dict[int, Entry]] = defaultdict(dict)
        self._ordered: dict[str, list[Entry]] = defaultdict(list)
        self._cursors: dict[str, int] = defaultdict(int)
        self._mixed: set[str] = set()
        self._occurrences: dict[Key, int] = defaultdict(int)
        self._intents: dict[str, dict[int, Entry]] = defaultdict(dict)
        self._effects: dict[str, dict[int, Entry]] = defaultdict(dict)
        self._passed: dict[str, set[int]] = defaultdict(set)
        self._ordinals: dict[str, int] = defaultdict(int)
        self._aside: set[int] = set()
        self._numbered: dict[int, Entry] = {}
        self._told: dict[str, list[Entry]] = defaultdict(list)
        self._under_way: dict[str, list[UnderWay]] = defaultdict(list)
        self._failed: dict[str, list[str]] = defaultdict(list)

    def remember(self, steps: Iterable[Step], first: int) -> None:
        """Takes in recorded steps, of which the first has this number."""
        for number, step in enumerate(steps, first):
            entry = self._numbered[number] = Entry(number, step)
            match step.kind:
                case "pure" | "model":
                    self._values[step.path, step.request][step.occurrence] = entry
                    self._ordered[step.path].append(entry)
                    if step.together:
                        self._mixed.add(step.path)
                case "intent":
                    self._intents[step.path][step.occurrence] = entry
                case "effect":
                    self._effects[step.path][step.occurrence] = entry
                case _:
                    continue
            if step.asked is not None:
                self._told[step.path].append(entry)

    def value(self, path: str, request: str) -> Place:
        """The place of the next value on a path; what is recorded there counts as used."""
        key = path, request
        recorded = self._values[key]
        occurrence = self._occurrences[key]
        while (entry := recorded.get(occurrence)) is not None and entry.number in self._aside:
            occurrence += 1
        self._occurrences[key] = occurrence + 1
        instead = None if entry is not None else self._instead(path, request)
        if instead is not None and self.is_pinned(instead):
            entry, instead = instead, None
        if entry is not None:
            entry.used = True
        return Place(occurrence, entry, instead)

    def is_pinned(self, entry: Entry) -> bool:
        """Whether a step answers whatever is asked in its place."""
        return entry.number < self._pinned

    def _instead(self, path: str, request: str) -> Entry | None:
        """The recorded step in whose place another request has come."""
        if path in self._mixed or self._under_way[path]:
            return None
        ordered = self._ordered[path]
        cursor = self._cursors[path]
        while cursor < len(ordered) and (ordered[cursor].used or ordered[cursor].number in self._aside):
            cursor += 1
        self._cursors[path] = cursor
        if cursor == len(ordered) or request in ordered[cursor].step.failed:
            return None
        return ordered[cursor]

    def effect(self, path: str) -> EffectPlace:
        """The place of the next effect on a path; what is recorded there counts as used."""
        ordinal = self._ordinals[path]
        while ordinal in self._passed[path]:
            ordinal += 1
        self._ordinals[path] = ordinal + 1
        place = EffectPlace(ordinal, self._intents[path].get(ordinal), self._effects[path].get(ordinal))
        for entry in (place.intent, place.effect):
            if entry is not None:
                entry.used = True
        return place

    def begin(self, path: str) -> UnderWay:
        """A step's call begins."""
        others = self._under_way[path]
        for other in others:
            other.together = True
        under_way = UnderWay(path, together=bool(others))
        others.append(under_way)
        return under_way

    def end(self, under_way: UnderWay) -> None:
        self._under_way[under_way.path].remove(under_way)

    def fail(self, path: str, request: str) -> None:
        """A call came to nothing: it leaves a gap before the next step of its path."""
        self._failed[path].append(request)

    def recorded(self, path: str, request: str) -> None:
        """A failure is to be recorded after all: it leaves no gap."""
        if request in self._failed.get(path, ()):
            self._failed[path].remove(request)

    def take_failed(self, path: str) -> tuple[str, ...]:
        """The gaps before the next step of a path, which is to name them."""
        return tuple(dict.fromkeys(self._failed.pop(path, ())))

    def effects_after(self, entry: Entry, branch: str) -> Sequence[Entry]:
        """Intents of a branch that were recorded after a step, and that this attempt has not come to.

        Those of another run are not among them: what was done there is done anew here.
        """
        intents = (one for recorded in self._intents.values() for one in recorded.values())
        return [
            one
            for one in intents
            if one.number > entry.number
            and one.number >= self._shared
            and self._open(one, branch)
            and one.step.occurrence not in self._passed[one.step.path]
        ]

    def led_to_effects(self, entry: Entry) -> bool:
        """Whether an effect of this run was begun after a step."""
        intents = (one for recorded in self._intents.values() for one in recorded.values())
        return any(one.number > entry.number and one.number >= self._shared for one in intents)

    def values_from(self, entry: Entry, branch: str) -> Sequence[int]:
        """Numbers of a branch's values from a step on that this attempt has not come to.

        And of its intents, where another run recorded them.
        """
        values = [one for recorded in self._ordered.values() for one in recorded]
        intents = (one for recorded in self._intents.values() for one in recorded.values())
        found = (*values, *(one for one in intents if one.number < self._shared))
        return sorted(one.number for one in found if self._open(one, branch) and one.number >= entry.number)

    def _open(self, entry: Entry, branch: str) -> bool:
        if entry.used or entry.number in self._aside:
            return False
        return not branch or entry.step.path.startswith(f"{branch}/")

    def leave(self, divergence: Divergence) -> None:
        """Goes on past a divergence, in this attempt as in later ones."""
        if divergence.verdict == "failed":
            return
        self._aside.update(divergence.set_aside)
        for number in (divergence.number, *divergence.set_aside):
            step = self._numbered[number].step
            if step.kind == "intent":
                self._passed[step.path].add(step.occurrence)

    def is_shared(self, entry: Entry) -> bool:
        """Whether a step was made in the run that this one comes from."""
        return entry.number < self._shared

    def told(self, entry: Entry) -> Sequence[Step]:
        """The steps from whose requests that of a step is told, itself the last."""
        return [one.step for one in self._told[entry.step.path] if one.number <= entry.number]

    def last_told(self, path: str) -> Sequence[Step]:
        """All recorded steps of a path that tell a request."""
        return [entry.step for entry in self._told[path]]
