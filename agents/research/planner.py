"""The planner: turns a question into the first directions to explore."""

import anyio.from_thread

from agents.agent import AgentFailure, Context, Discovery, Posting, agent
from agents.research.artifacts import Plan, PlannedDirection
from agents.research.index import open_index, summary_of
from agents.research.markdown import left_out
from agents.research.query import clauses_of, is_identifier, terms_of
from agents.research.retrieve import Hit, Weighed, search, weigh
from agents.research.roles import model_roles
from agents.research.settings import BUILD, ResearchSettings
from agents.research.vocabulary import STOP_WORDS
from protocol.ids import normalise_topic
from protocol.messages import TOPIC_LIMIT, FollowUp

MAX_DIRECTIONS = 6
_OUTLINE = 12
_BORROWED = 3
"""Words that a later part of a question takes from the earlier ones, which its pronouns mean."""


@agent("plan", publishes=[Plan], runs_in="thread", build=BUILD)
def plan(context: Context) -> Discovery:
    """Builds the index if need be and proposes up to six directions for `explore`.

    Without a model: the whole question, its clauses (later ones with words of the earlier, so that a
    pronoun finds what it stands for), its identifiers, and the names in the corpus that fit it best.
    :raises AgentFailure: (user) for a corpus that does not exist or holds no text.
    """
    settings = ResearchSettings.of(context.settings)
    question = (context.goal or context.topic)[:TOPIC_LIMIT]
    try:
        with open_index(settings.corpus, settings.cache_folder(), context.progress) as index:
            summary = summary_of(index)
            weighed = weigh(index, terms_of(question))
            outline = search(index, question, question, _OUTLINE)
            directions = _facets(question, weighed, outline)
    except FileNotFoundError as error:
        raise AgentFailure("user", f"corpus: {error.filename} does not exist") from error
    if not summary.chunks:
        why = f"; not read: {left_out(summary)}" if summary.skipped else ""
        raise AgentFailure("user", f"corpus: no text in {', '.join(settings.corpus)}{why}")
    roles = model_roles(context)
    if roles is not None:
        headings = [f"{hit.path}: {hit.heading}" for hit in outline]
        topics = anyio.from_thread.run(roles.plan, question, headings)
        proposed = [PlannedDirection(topic=topic, why="proposed by the model", prior=0.7) for topic in topics]
        directions = _distinct([directions[0], *proposed])
    artifact = Plan(
        question=question,
        mode="extractive" if roles is None else "model",
        terms=tuple(item.term.text for item in weighed if item.idf),
        unknown_terms=tuple(item.term.text for item in weighed if not item.idf),
        directions=directions,
        corpus=summary,
    )
    known = sum(1 for item in weighed if item.idf)
    return Discovery(
        artifacts=[Posting(artifact, key="plan", text=question)],
        reward=known / len(weighed) if weighed else 0.0,
        follow_ups=[FollowUp(agent="explore", topic=item.topic, prior=item.prior) for item in directions],
        exhausted=True,
    )


def _facets(question: str, weighed: tuple[Weighed, ...], outline: list[Hit]) -> tuple[PlannedDirection, ...]:
    directions = [PlannedDirection(topic=question, why="the question itself", prior=0.9)]
    ranked = sorted((item for item in weighed if item.idf), key=lambda item: -item.idf)
    words = [item.term.text for item in weighed if item.idf and not is_identifier(item.term.text)]
    clauses = clauses_of(question)
    for number, clause in enumerate(clauses if len(clauses) > 1 else ()):
        own = {term.text for term in terms_of(clause)}
        borrowed = [word for word in words if word not in own][:_BORROWED] if number else []
        topic = " ".join([*_plain(clause), *borrowed])
        directions.append(PlannedDirection(topic=topic, why=f"a part of the question: {clause}", prior=0.7))
    names = [item.term.text for item in ranked if is_identifier(item.term.text)]
    directions.extend(PlannedDirection(topic=name, why="a name in the question", prior=0.7) for name in names)
    directions.extend(
        PlannedDirection(
            topic=f"{hit.heading} ({hit.path})"[:TOPIC_LIMIT],
            why=f"a place in the corpus that holds {', '.join(hit.terms)}",
            prior=round(hit.relevance * 0.8, 3),
        )
        for hit in outline[:4]
        if hit.heading and hit.terms
    )
    return _distinct(directions)


def _plain(clause: str) -> list[str]:
    return [word for word in clause.split() if word.casefold().strip(".,") not in STOP_WORDS]


def _distinct(directions: list[PlannedDirection]) -> tuple[PlannedDirection, ...]:
    kept: dict[str, PlannedDirection] = {}
    for direction in directions:
        if terms_of(direction.topic) or not kept:
            kept.setdefault(normalise_topic(direction.topic), direction)
    return tuple(kept.values())[:MAX_DIRECTIONS]
