"""The explorer: visits a direction, picks evidence, says where to look next.

The reward of a visit is novelty x relevance x verification, each in [0, 1] (`agents.judging`):

- novelty: the mean, over the passages it picked, of the share of lines that no earlier passage held;
- relevance: the mean relevance of those that brought anything new (see `retrieve`; a model's word counts as
  far as its judgements have proved true: `judge`);
- verification: the share of its quotations that the file, read again, holds byte for byte.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import anyio.from_thread
from pydantic import JsonValue, TypeAdapter

from agents.agent import AgentFailure, Context, Discovery, Posting, agent
from agents.judging import Factors, JudgeRecord, combined
from agents.research.artifacts import Passage, Quotation, Rejected, Span
from agents.research.index import Index, open_index
from agents.research.judge import judge_so_far, weighed
from agents.research.query import is_identifier, quoted, terms_of
from agents.research.quotes import check, locate_quote
from agents.research.retrieve import Hit, search
from agents.research.roles import Judgement, Roles, model_roles
from agents.research.settings import BUILD, ResearchSettings
from agents.research.vocabulary import STOP_WORDS
from protocol.ids import derive, normalise_topic
from protocol.messages import TOPIC_LIMIT, FollowUp

MAX_VISITS_RANKED = 200
"""How deep a direction can be read in all, in passages."""
FLOOR = 0.2
"""Passages less relevant than this are no evidence."""
_FOLLOW_UP_FACTOR = 0.75
_MODEL_PRIOR = 0.6
_NEW = 0.5
"""A passage of which less than half is new is not posted again."""
_NAME = re.compile(r"[A-Za-z_][\w.]{3,60}")
_NOVELTIES: TypeAdapter[list[float]] = TypeAdapter(list[float])


@dataclass(frozen=True, slots=True)
class Evidence:
    """A candidate passage; `why` says what speaks for it, `judgement` what a model made of its relevance."""

    quotation: Quotation
    hit: Hit
    why: str
    judgement: float | None = None


@agent("explore", publishes=[Passage, Rejected], runs_in="thread", build=BUILD)
def explore(context: Context) -> Discovery:
    """One visit: visit v reads the v-th page of the direction's ranking.

    What the board held is recorded as a step, so that a second attempt finds the same things new.
    """
    settings = ResearchSettings.of(context.settings)
    topic = context.topic or context.goal
    page = slice((context.visit - 1) * settings.passages, context.visit * settings.passages)
    try:
        with open_index(settings.corpus, settings.cache_folder(), context.progress) as index:
            ranked = search(index, context.goal, topic, min(page.stop + 1, MAX_VISITS_RANKED))
            hits = [hit for hit in ranked[page] if hit.relevance >= FLOOR]
            proposals = _follow_ups(index, context, hits, settings.follow_ups)
    except FileNotFoundError as error:
        raise AgentFailure("user", f"corpus: {error.filename} does not exist") from error
    context.progress()
    evidence, rejected = [_evidence(hit, topic) for hit in hits], list[Rejected]()
    roles = model_roles(context)
    if roles is not None and hits:
        evidence, rejected, model_proposals = _judged(roles, judge_so_far(context), context.goal, topic, hits)
        proposals = (*model_proposals, *proposals)[: settings.follow_ups]
    novelties = _novelties(context, [item.quotation for item in evidence])
    passages = [
        Passage(
            **item.quotation.model_dump(),
            novelty=novelty,
            why=item.why,
            fit=item.hit.relevance,
            judgement=item.judgement,
        )
        for item, novelty in zip(evidence, novelties, strict=True)
        if novelty >= _NEW
    ]
    return Discovery(
        artifacts=[*map(_posting, passages), *rejected],
        reward=_reward(settings.corpus, passages, novelties),
        follow_ups=proposals,
        exhausted=len(ranked) <= page.stop or len(hits) < settings.passages or not passages,
    )


def _reward(corpus: Sequence[str], passages: Sequence[Passage], novelties: Sequence[float]) -> float:
    if not passages:
        return 0.0
    novelty = sum(novelties) / len(novelties)
    relevance = sum(passage.relevance for passage in passages) / len(passages)
    verified = sum(1 for passage in passages if check(corpus, passage) is None) / len(passages)
    return round(combined(Factors(novelty, relevance, verified)), 6)


def _evidence(hit: Hit, topic: str) -> Evidence:
    quotation = Quotation(
        root=hit.root,
        path=hit.path,
        page=hit.page,
        start_line=hit.start,
        end_line=hit.end,
        quote=hit.quote,
        encoding="latin-1" if hit.encoding == "latin-1" else "utf-8",
        heading=hit.heading,
        topic=topic,
        relevance=hit.relevance,
        terms=hit.terms,
    )
    return Evidence(quotation, hit, f"holds {', '.join(hit.terms)}" if hit.terms else "close in meaning")


def _judged(
    roles: Roles, judge: JudgeRecord, question: str, topic: str, hits: Sequence[Hit]
) -> tuple[list[Evidence], list[Rejected], tuple[FollowUp, ...]]:
    """Evidence as the model chose it. A quotation that does not stand in its passage is rejected."""
    reading = anyio.from_thread.run(roles.read, question, topic, [hit.quote for hit in hits])
    evidence: list[Evidence] = []
    rejected: list[Rejected] = []
    for judgement in reading.judgements:
        hit = hits[judgement.passage - 1] if 1 <= judgement.passage <= len(hits) else None
        span = locate_quote(hit.quote, hit.start, judgement.quote) if hit else None
        if hit is None or span is None:
            rejected.append(_not_in_passage(judgement, hit, topic))
            continue
        quotation = _evidence(hit, topic).quotation.model_copy(
            update={
                "start_line": span[0],
                "end_line": span[1],
                "quote": judgement.quote,
                "relevance": weighed(hit.relevance, judgement.relevance, judge),
            }
        )
        evidence.append(Evidence(quotation, hit, judgement.why, judgement.relevance))
    names = [name[:TOPIC_LIMIT] for name in reading.follow_ups if name.strip()]
    proposals = tuple(FollowUp(agent="explore", topic=name, prior=_MODEL_PRIOR) for name in names)
    return evidence, rejected, proposals


def _not_in_passage(judgement: Judgement, hit: Hit | None, topic: str) -> Rejected:
    return Rejected(
        path=hit.path if hit else "",
        start_line=hit.start if hit else 0,
        end_line=hit.end if hit else 0,
        page=hit.page if hit else 0,
        quote=judgement.quote[:2_000],
        reason="not_in_passage",
        detail=f"the model quoted what passage {judgement.passage} does not hold",
        topic=topic,
        judgement=judgement.relevance,
    )


def place_tag(root: int, path: str) -> str:
    """The tag under which passages and findings of one file are found on the board."""
    return derive("file", str(root), path)


def _posting(passage: Passage) -> Posting:
    place = f"{passage.root}:{passage.path}:{passage.page}:{passage.start_line}-{passage.end_line}"
    return Posting(
        passage,
        key=derive("at", place, passage.quote),
        tags=(place_tag(passage.root, passage.path),),
        text=f"{passage.path} {passage.heading} {' '.join(passage.terms)}"[:4_000],
    )


def _novelties(context: Context, quotations: Sequence[Quotation]) -> list[float]:
    """For each quotation the share of its lines that neither the board nor an earlier one holds."""
    if not quotations:
        return []
    request: JsonValue = [quotation.citation for quotation in quotations]
    recorded = anyio.from_thread.run(context.step, "novelty", request, partial(_look_up, context, quotations))
    return _NOVELTIES.validate_python(recorded)


async def _look_up(context: Context, quotations: Sequence[Quotation]) -> list[JsonValue]:
    known: dict[str, list[Span]] = {}
    for tag in {place_tag(quotation.root, quotation.path) for quotation in quotations}:
        found, _ = await context.board.query(type=Passage, tag=tag, limit=200)
        known[tag] = [context.load(artifact, Passage) for artifact in found if artifact.payload is not None]
    novelties: list[JsonValue] = []
    for quotation in quotations:
        earlier = known[place_tag(quotation.root, quotation.path)]
        lines = set(range(quotation.start_line, quotation.end_line + 1))
        for span in earlier:
            if span.page == quotation.page:
                lines -= set(range(span.start_line, span.end_line + 1))
        novelties.append(round(len(lines) / (quotation.end_line - quotation.start_line + 1), 6))
        earlier.append(quotation)
    return novelties


def _follow_ups(index: Index, context: Context, hits: Sequence[Hit], limit: int) -> tuple[FollowUp, ...]:
    """Where to look next: the best passages' own names, and rare names that several of them mention."""
    known = {term.text.casefold() for term in terms_of(f"{context.goal} {context.topic}")}
    proposals: list[FollowUp] = []
    for name, relevance in _mentioned(index, hits, known)[: (limit + 1) // 2]:
        proposals.append(FollowUp(agent="explore", topic=name, prior=round(relevance * _FOLLOW_UP_FACTOR, 6)))
    for hit in hits:
        name = hit.heading.rpartition(" > ")[2]
        if name and not {part.casefold() for part in re.split(r"\W+", name)} <= known:
            topic = f"{name} ({hit.path})"[:TOPIC_LIMIT]
            proposals.append(
                FollowUp(agent="explore", topic=topic, prior=round(hit.relevance * _FOLLOW_UP_FACTOR, 6))
            )
    proposals.sort(key=lambda proposal: -(proposal.prior or 0.0))
    distinct = {normalise_topic(proposal.topic): proposal for proposal in reversed(proposals)}
    distinct.pop(normalise_topic(context.topic), None)
    return tuple(reversed(distinct.values()))[:limit]


def _mentioned(index: Index, hits: Sequence[Hit], known: set[str]) -> list[tuple[str, float]]:
    """Names in the passages, by how often they are mentioned and how rare they are in the corpus."""
    weights: defaultdict[str, float] = defaultdict(float)
    for hit in hits:
        for name in set(_NAME.findall(hit.text)):
            plain = name.strip(".").removeprefix("self.").removeprefix("cls.")
            if is_identifier(plain) and plain.casefold() not in known and plain.casefold() not in STOP_WORDS:
                weights[plain] += hit.relevance
    scored: list[tuple[float, str]] = []
    for name, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:20]:
        phrase = quoted(" ".join(re.split(r"[._]+", name)).strip())
        (found,) = index.connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE chunks MATCH ? LIMIT 300)", (phrase,)
        ).fetchone()
        if 2 <= found < 300:
            scored.append((weight / (1 + found / 50), name))
    best = max((score for score, _ in scored), default=1.0)
    top = hits[0].relevance if hits else 0.0
    scored.sort(key=lambda item: (-item[0], item[1]))
    return [(name, score / best * top) for score, name in scored]
