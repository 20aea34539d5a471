"""Why a direction was chosen, what was explored and what not: in words for people, and in tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.adaptive import PRIOR_LASTS, Adaptive
from coordinator.frontier.policies import frontier
from coordinator.frontier.promises import ROOT_PRIOR_MICRO

UNVISITED_INDEX = 1e6
"""Policies that visit everything once give what was not visited an index beyond this."""


def explain(choice: Choice, topics: Mapping[str, str]) -> str:
    """One choice in words and numbers. `topics` by direction id; a missing one is shown by its id."""
    chosen = choice.chosen
    sentences = [
        f"Chosen: {_named(chosen, topics)}, out of {_counted(choice.open_directions, 'open direction')}.",
        _standing(chosen, choice),
        _deciding(choice),
    ]
    if choice.runners_up:
        others = "; ".join(
            f"{_named(term, topics)} ({_briefly(term, choice.policy)})" for term in choice.runners_up
        )
        sentences.append(f"Next in line: {others}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _standing(term: Term, choice: Choice) -> str:
    """What is known of the chosen direction."""
    parts: list[str] = []
    if not term.visits:
        parts.append(_rated(term, choice))
    elif term.restarts:
        parts.append(
            f"Its rewards have dropped, so only what it earned since counts, {term.mean:.2f} (of 1) on "
            f"average; it has been visited {_times(term.visits)} in all"
        )
    else:
        parts.append(f"{_counted(term.visits, 'visit')} to it earned {term.mean:.2f} (of 1) on average")
        if _prior_counts(choice):
            parts[0] += f", with the {_prior(term):.2f} at which it was rated beforehand weighed in"
    if term.in_flight and term.visits:
        parts.append(f"{_counted(term.in_flight, 'more visit')} under way")
    return ", ".join(parts) + "."


def _rated(term: Term, choice: Choice) -> str:
    """What an unvisited direction starts with."""
    text = "It has not been visited yet"
    if term.in_flight:
        text = f"No visit to it has ended yet, with {term.in_flight:,} under way"
    if term.prior is None:
        text += f"; nobody rated it beforehand, so it starts at {_prior(term):.2f} (of 1)"
    else:
        text += f"; it was suggested with a rating of {term.prior:.2f} (of 1)"
    if choice.surprise is not None and abs(choice.surprise) >= 0.005:
        side = "less" if choice.surprise < 0 else "more"
        text += f", and such directions have so far earned {abs(choice.surprise):.2f} {side} than that"
    return text


def _prior(term: Term) -> float:
    return ROOT_PRIOR_MICRO / MICRO if term.prior is None else term.prior


def _prior_counts(choice: Choice) -> bool:
    """Whether the mean of the chosen direction has its prior in it."""
    chosen = choice.chosen
    lasting = choice.policy != Adaptive.name or chosen.visits <= PRIOR_LASTS
    return lasting and not chosen.restarts and chosen.counted > chosen.visits


def _deciding(choice: Choice) -> str:
    """What tipped the scales: what is known, or what is not."""
    chosen = choice.chosen
    if chosen.index >= UNVISITED_INDEX:
        return "Every direction gets a first visit before any is judged."
    match choice.policy:
        case "uniform":
            return "This policy draws any direction with the same chance."
        case "round-robin":
            return "This policy takes the direction with the fewest visits."
        case "thompson":
            return f"This policy draws a plausible value for each; its was the highest, {chosen.index:.2f}."
        case _:
            return _promising(choice)


def _promising(choice: Choice) -> str:
    chosen = choice.chosen
    if chosen.index > 1.0:
        return (
            f"Its score is the highest, {chosen.index:.2f}: what it is known to earn, and a bonus for how "
            "little is known of it."
        )
    rivals = [term.mean for term in choice.runners_up]
    if chosen.bonus > 0.005:
        text = f"With so little known of it, it may well be worth up to {chosen.index:.2f}"
        if rivals and chosen.mean < max(rivals):
            return f"{text}; others earned more so far, but none could turn out as good."
        return f"{text}, and no other direction is as promising."
    if chosen.bonus >= -0.005:
        return f"Its next visit is expected to earn {chosen.index:.2f}; no other promises more."
    allowing = _allowing_for(choice)
    its = f"Allowing {allowing}, its" if allowing else "Its"
    return f"{its} next visit may earn up to {chosen.index:.2f}; no other promises more."


def _allowing_for(choice: Choice) -> str:
    """What lowers the expectation below the average."""
    chosen, reasons = choice.chosen, list[str]()
    if not chosen.visits and choice.surprise is not None:
        reasons.append("for how such ratings turned out")
    elif choice.surprise is not None and choice.surprise <= -0.005 and _prior_counts(choice):
        reasons.append("for ratings that turned out too high")
    if chosen.visits and choice.decay is not None and choice.decay <= 0.995:
        reasons.append(
            f"for rewards that shrink by about {1 - choice.decay:.0%} "
            "from one visit of a direction to the next"
        )
    if chosen.in_flight:
        reasons.append("for what is under way")
    return " and ".join(reasons)


def _named(term: Term, topics: Mapping[str, str]) -> str:
    return f"“{topics.get(term.direction) or term.direction}”"


def _briefly(term: Term, policy: str) -> str:
    text = f"{term.mean:.2f} from {_counted(term.visits, 'visit')}" if term.visits else "not visited"
    if term.in_flight:
        text += f", {term.in_flight} under way"
    if term.index >= UNVISITED_INDEX:
        return text
    if policy == "thompson":
        return f"{text}, drew {term.index:.2f}"
    return f"{text}, {'worth up to' if term.index <= 1.0 else 'score'} {term.index:.2f}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


@dataclass(frozen=True, slots=True)
class RankedDirection:
    """A line of the ranked table: open directions by the policy's index, then the closed ones."""

    place: int
    direction: str
    topic: str
    visits: int
    in_flight: int
    mean: float | None
    best: float | None
    index: float | None
    """None for a closed direction."""
    bonus: float | None
    restarted: bool
    closed: str | None
    """Why no further visit will be made."""


def rank(rows: Sequence[DirectionRow], policy: str, places: int = 50) -> list[RankedDirection]:
    """The first places of the ranked table of one agent's directions.

    :raises InvalidSettings: there is no policy of that name.
    """
    by_id = {row.id: row for row in rows}
    terms = frontier(policy, rows).ranking(places)
    closed = sorted(
        (row for row in rows if not row.open), key=lambda row: (-(observed(row) or 0.0), row.opened)
    )
    ranked: list[tuple[DirectionRow, Term | None]] = [(by_id[term.direction], term) for term in terms]
    ranked += [(row, None) for row in closed[: max(0, places - len(ranked))]]
    return [_line(place, row, term) for place, (row, term) in enumerate(ranked, start=1)]


def _line(place: int, row: DirectionRow, term: Term | None) -> RankedDirection:
    return RankedDirection(
        place=place,
        direction=row.id,
        topic=row.topic,
        visits=row.visits,
        in_flight=row.in_flight,
        mean=observed(row),
        best=row.reward_best_micro / MICRO if row.visits else None,
        index=None if term is None else term.index,
        bonus=None if term is None else term.bonus,
        restarted=term is not None and term.restarts > 0,
        closed=why_closed(row),
    )


def observed(row: DirectionRow) -> float | None:
    """Mean reward of the visits made; None before the first."""
    return row.reward_sum_micro / (MICRO * row.visits) if row.visits else None


def why_closed(row: DirectionRow) -> str | None:
    """Why no further visit will be made; None while one may be."""
    if row.open:
        return None
    return row.retired or f"it has had the {_counted(row.numbered, 'visit')} it may have"


@dataclass(frozen=True, slots=True)
class TreeLine:
    """A direction in the tree of who proposed whom, with the sums over all that it led to."""

    depth: int
    row: DirectionRow
    below: int
    """Directions under it, at any depth."""
    visits: int
    """Of it and all under it, and their mean reward."""
    mean: float | None


def tree(rows: Iterable[DirectionRow]) -> list[TreeLine]:
    """All directions, each before those it led to, older first."""
    ordered = sorted(rows, key=lambda row: row.opened)
    known = {row.id for row in ordered}
    children: defaultdict[str | None, list[DirectionRow]] = defaultdict(list)
    for row in ordered:
        children[row.parent if row.parent in known else None].append(row)
    below: Counter[str] = Counter()
    visits = Counter({row.id: row.visits for row in ordered})
    rewards = Counter({row.id: row.reward_sum_micro for row in ordered})
    # A parent is always older than its children, so that the youngest first carries sums up.
    for row in reversed(ordered):
        if row.parent is not None and row.parent in known:
            below[row.parent] += below[row.id] + 1
            visits[row.parent] += visits[row.id]
            rewards[row.parent] += rewards[row.id]
    lines: list[TreeLine] = []
    stack = [(0, row) for row in reversed(children[None])]
    while stack:
        depth, row = stack.pop()
        mean = rewards[row.id] / (MICRO * visits[row.id]) if visits[row.id] else None
        lines.append(TreeLine(depth, row, below[row.id], visits[row.id], mean))
        stack.extend((depth + 1, child) for child in reversed(children[row.id]))
    return lines


def coverage(rows: Sequence[DirectionRow]) -> str:
    """What was explored, what not, and why, in a few sentences for a report."""
    visited = [row for row in rows if row.visits]
    unvisited = [row for row in rows if not row.visits]
    total = sum(row.visits for row in visited)
    text = [
        f"{_counted(total, 'visit')} went to {len(visited):,} of {_counted(len(rows), 'direction')}."
        if rows
        else "No direction was opened."
    ]
    if visited:
        most = max(visited, key=lambda row: (row.visits, -row.opened))
        best = max(visited, key=lambda row: (observed(row) or 0.0, -row.opened))
        text.append(
            f"Most often visited: “{most.topic}” ({_times(most.visits)}, {observed(most):.2f} on average); "
            f"most rewarding: “{best.topic}” ({observed(best):.2f} over {_counted(best.visits, 'visit')})."
        )
    retired = sum(row.retired is not None for row in rows)
    if retired:
        text.append(
            f"{_counted(retired, 'direction')} ended early: nothing more to find, or no longer worth a visit."
        )
    waiting = [row for row in unvisited if row.open]
    if waiting:
        were, they = ("was", "it") if len(waiting) == 1 else ("were", "they")
        text.append(
            f"{_counted(len(waiting), 'direction')} {were} left unvisited: others promised more, or {they} "
            "came too late."
        )
    return " ".join(text)
