"""The verifier: checks each quotation byte for byte against its file, and merges near-duplicates.

Only what stands in the file now, at its lines, becomes a finding. Near-duplicates are passages that
share half the lines of the shorter, or whose texts are alike (`quotes.NEAR_TEXT`). The more relevant
one stays: a repetition within the task is listed in its `merged`, one of a finding that is on the
board already is posted as rejected, naming it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio.from_thread
from pydantic import JsonValue, TypeAdapter

from agents.agent import Context, Discovery, Found, Posting, agent
from agents.research.artifacts import Finding, Merged, Passage, Quotation, Reason, Rejected
from agents.research.explorer import place_tag
from agents.research.quotes import NEAR_OVERLAP, NEAR_TEXT, check, normalised, text_similarity
from agents.research.settings import BUILD, ResearchSettings
from protocol.ids import derive
from protocol.messages import Record


class _Known(Record):
    """A finding that the board holds already."""

    finding: str
    quotation: Quotation


_KNOWN: TypeAdapter[list[_Known]] = TypeAdapter(list[_Known])


@dataclass(slots=True)
class _Kept:
    found: Found[Passage]
    merged: list[Merged] = field(default_factory=list[Merged])


@agent("verify", consumes=[Passage], publishes=[Finding, Rejected], runs_in="thread", build=BUILD)
def verify(context: Context) -> Discovery:
    """Turns the passages of one discovery into findings and rejections. Reward: the share that held."""
    roots = ResearchSettings.of(context.settings).corpus
    passages = [Found(artifact, context.load(artifact, Passage)) for artifact in context.inputs]
    held: list[Found[Passage]] = []
    postings: list[Posting] = []
    for found in passages:
        refusal = check(roots, found.payload)
        context.progress()
        if refusal is None:
            held.append(found)
        else:
            postings.append(_rejection(found, refusal.reason, refusal.detail))
    postings.extend(map(_finding, _merge(context, held, postings)))
    return Discovery(
        artifacts=postings,
        reward=len(held) / len(passages) if passages else 0.0,
        exhausted=True,
    )


def near_duplicate(left: Quotation, right: Quotation) -> tuple[float, str] | None:
    """How alike two quotations are, and by which rule, when they count as one; else None."""
    overlap = left.overlap(right)
    if overlap >= NEAR_OVERLAP and min(len(left.quote), len(right.quote)) > 0:
        return overlap, "overlap"
    similarity = text_similarity(left.quote, right.quote)
    if similarity >= NEAR_TEXT:
        return similarity, "text"
    return None


def text_tag(quote: str) -> str:
    """The tag under which findings of the same normalised text meet, in whichever file."""
    return derive("text", normalised(quote))


def _merge(context: Context, held: Sequence[Found[Passage]], postings: list[Posting]) -> list[_Kept]:
    """What stays, best first; repetitions of known findings are added to the postings as rejected."""
    if not held:
        return []
    request: JsonValue = [found.id for found in held]
    recorded = anyio.from_thread.run(context.step, "known", request, partial(_look_up, context, held))
    known = _KNOWN.validate_python(recorded)
    kept: list[_Kept] = []
    for found in sorted(held, key=lambda found: (-found.payload.relevance, found.payload.citation)):
        repeated = next((item for item in known if near_duplicate(item.quotation, found.payload)), None)
        if repeated is not None:
            detail = f"repeats {repeated.quotation.citation}"
            postings.append(_rejection(found, "duplicate", detail, of=repeated.finding))
        elif not _absorbed(kept, found):
            kept.append(_Kept(found))
    return kept


def _absorbed(kept: Sequence[_Kept], found: Found[Passage]) -> bool:
    for item in kept:
        alike = near_duplicate(item.found.payload, found.payload)
        if alike is not None:
            item.merged.append(
                Merged(
                    passage=found.id,
                    citation=found.payload.citation,
                    similarity=round(alike[0], 6),
                    rule="overlap" if alike[1] == "overlap" else "text",
                )
            )
            return True
    return False


async def _look_up(context: Context, held: Sequence[Found[Passage]]) -> JsonValue:
    """Findings of the same files and of the same texts; the cost follows from the inputs, not the board."""
    tags = {place_tag(found.payload.root, found.payload.path) for found in held}
    tags |= {text_tag(found.payload.quote) for found in held}
    known: dict[str, JsonValue] = {}
    for tag in sorted(tags):
        artifacts, _ = await context.board.query(type=Finding, tag=tag, limit=200)
        for artifact in artifacts:
            if artifact.payload is not None:
                finding = context.load(artifact, Finding)
                quotation = Quotation.model_validate(finding.model_dump()).model_dump(mode="json")
                known[artifact.id] = {"finding": artifact.id, "quotation": quotation}
    return list(known.values())


def _finding(kept: _Kept) -> Posting:
    passage, artifact = kept.found.payload, kept.found.artifact
    finding = Finding(
        **Quotation.model_validate(passage.model_dump()).model_dump(),
        passage=artifact.id,
        direction=artifact.direction,
        reward=round(passage.novelty * passage.relevance, 6),
        why=passage.why,
        merged=tuple(kept.merged),
    )
    return Posting(
        finding,
        key=artifact.id,
        tags=(place_tag(passage.root, passage.path), text_tag(passage.quote)),
        parents=(artifact.id, *(item.passage for item in kept.merged)),
        text=f"{passage.path} {passage.heading} {' '.join(passage.terms)}"[:4_000],
    )


def _rejection(found: Found[Passage], reason: Reason, detail: str, of: str | None = None) -> Posting:
    passage = found.payload
    rejected = Rejected(
        path=passage.path,
        start_line=passage.start_line,
        end_line=passage.end_line,
        page=passage.page,
        quote=passage.quote[:2_000],
        reason=reason,
        detail=detail,
        passage=found.id,
        of=of,
        topic=passage.topic,
    )
    return Posting(rejected, key=found.id, tags=(f"reason-{reason}",), parents=(found.id,))
