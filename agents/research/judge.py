"""How far a run's model is believed when it says what is relevant (`agents.judging`).

Each judgement is kept beside what can be checked of it: how well its passage fits by the words in it, and
nothing where the quotation was made up. A model whose judgements go with that is believed a little more, to
one half at most; one that says the same of everything, or the opposite, is not, and the report and the
worker's metrics say so.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import anyio.from_thread
from pydantic import JsonValue, TypeAdapter

from agents.agent import Context
from agents.judging import Factors, JudgeRecord, combined
from agents.research.artifacts import Passage, Rejected

SEEN = 200
"""So many of the newest passages, and of what was rejected, say how far the model is to be believed."""
_PAIRS: TypeAdapter[list[tuple[float, float]]] = TypeAdapter(list[tuple[float, float]])


def judge_so_far(context: Context) -> JudgeRecord:
    """The model's record at this visit; what the board held is a step, so that a second attempt believes it
    as far.
    """
    recorded = anyio.from_thread.run(context.step, "judge", None, partial(_look_up, context))
    record = record_of(_PAIRS.validate_python(recorded))
    context.gauge("judge_trust", record.trust())
    context.gauge("judge_problems", len(record.warnings()))
    return record


def record_of(pairs: Iterable[tuple[float, float]]) -> JudgeRecord:
    """Judgements and outcomes. What a search finds relevant is on no scale that a model could know."""
    record = JudgeRecord(comparable=False)
    for judgement, outcome in pairs:
        record.add(judgement, outcome)
    return record


def pairs_of(passages: Iterable[Passage], rejected: Iterable[Rejected]) -> Iterator[tuple[float, float]]:
    """The judgements among what explorers posted, each with its outcome."""
    for passage in passages:
        if passage.judgement is not None:
            yield passage.judgement, passage.fit
    for made_up in rejected:
        if made_up.judgement is not None:
            yield made_up.judgement, 0.0


def weighed(fit: float, judgement: float, judge: JudgeRecord) -> float:
    """The relevance of a passage that fits so well, as far as the judge may change it."""
    return round(combined(Factors(1.0, fit, 1.0, judgement), judge), 6)


async def _look_up(context: Context) -> JsonValue:
    passages, _ = await context.board.query(type=Passage, limit=SEEN)
    rejected, _ = await context.board.query(type=Rejected, limit=SEEN)
    pairs = pairs_of(
        (context.load(one, Passage) for one in passages if one.payload is not None),
        (context.load(one, Rejected) for one in rejected if one.payload is not None),
    )
    return [[judgement, outcome] for judgement, outcome in pairs]
