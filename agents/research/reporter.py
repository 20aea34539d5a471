"""The reporter: ranks the findings and writes an answer in which every statement is cited."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio.from_thread

from agents.agent import Context, Discovery, Found, Posting, agent
from agents.research.artifacts import Cited, Finding, Mode, Passage, Plan, Rejected, Report, Span, Statement
from agents.research.judge import pairs_of, record_of
from agents.research.markdown import Material, line_of, render
from agents.research.quotes import check
from agents.research.roles import Roles, Sentence, model_roles
from agents.research.settings import BUILD, ResearchSettings
from agents.research.statements import content_stems, extract
from agents.research.verifier import near_duplicate

_log = logging.getLogger(__name__)
MAX_STATEMENTS = 6
SHOWN_TO_MODEL = 20
MERGED_AMONG = 300
"""Near-duplicates are looked for among so many of the best findings; further ones are listed as they are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The statements that may stand, and how many may not."""

    statements: tuple[Statement, ...]
    dropped: int = 0
    mode: Mode = "extractive"


@agent("report", consumes=[Finding, Rejected, Plan], publishes=[Report], runs_in="thread", build=BUILD)
def report(context: Context) -> Discovery:
    """Writes the report from all findings of the run, each of which is checked once more."""
    settings = ResearchSettings.of(context.settings)
    findings = anyio.from_thread.run(context.board.all, Finding)
    rejected = [found.payload for found in anyio.from_thread.run(context.board.all, Rejected)]
    plans = anyio.from_thread.run(context.board.all, Plan)
    held = [found for found in findings if check(settings.corpus, found.payload) is None]
    ranked, merged = rank(held)
    context.progress()
    roles = model_roles(context)
    answer = _answer(context, roles, ranked)
    warnings = _warnings(context, rejected) if roles is not None else ()
    material = Material(
        question=context.goal,
        mode=answer.mode,
        statements=answer.statements,
        findings=ranked,
        rejected=rejected,
        changed=len(findings) - len(held),
        merged=merged
        + sum(len(found.payload.merged) for found in ranked)
        + sum(1 for item in rejected if item.reason == "duplicate"),
        dropped=answer.dropped,
        plan=plans[0].payload if plans else None,
        labels=_labels(settings.corpus),
        warnings=warnings,
    )
    for warning in warnings:
        _log.warning("run %s: %s", context.run, warning)
    posting = Posting(
        _payload(material),
        key="report",
        parents=tuple(found.id for found in ranked[:1_000]),
        text=context.goal[:4_000],
    )
    return Discovery([posting], reward=1.0 if ranked else 0.0, exhausted=True)


def rank(findings: Sequence[Found[Finding]]) -> tuple[list[Found[Finding]], int]:
    """Best first, without near-duplicates that tasks found at the same time; and how many those were."""
    ordered = sorted(findings, key=lambda found: (-found.payload.relevance, found.payload.citation))
    kept: list[Found[Finding]] = []
    for found in ordered[:MERGED_AMONG]:
        if not any(near_duplicate(other.payload, found.payload) for other in kept):
            kept.append(found)
    rest = ordered[MERGED_AMONG:]
    return [*kept, *rest], len(ordered) - len(kept) - len(rest)


def admit(sentences: Sequence[Sentence], findings: Sequence[Found[Finding]]) -> Answer:
    """Keeps a model's sentences that cite findings which bear them, and counts the others.

    A sentence must cite a finding, share words with what it cites, and all that it quotes or sets
    in backticks must stand there byte for byte.
    """
    statements: list[Statement] = []
    for sentence in sentences:
        numbers = [number for number in dict.fromkeys(sentence.citations) if 1 <= number <= len(findings)]
        cited = [findings[number - 1] for number in numbers]
        if cited and len(numbers) == len(set(sentence.citations)) and _borne(sentence.text, cited):
            statements.append(
                Statement(
                    text=" ".join(sentence.text.split()),
                    citations=tuple(_span(found.payload) for found in cited),
                    findings=tuple(found.id for found in cited),
                )
            )
    return Answer(tuple(statements), len(sentences) - len(statements), "model")


def _answer(context: Context, roles: Roles | None, ranked: Sequence[Found[Finding]]) -> Answer:
    if roles is None:
        return Answer(extract(context.goal, ranked, MAX_STATEMENTS))
    if not ranked:
        return Answer((), mode="model")
    shown = ranked[:SHOWN_TO_MODEL]
    texts = [f"{found.payload.citation}\n{found.payload.quote}" for found in shown]
    sentences = anyio.from_thread.run(partial(roles.write, context.goal, texts))
    return admit(sentences, shown)


def _warnings(context: Context, rejected: Sequence[Rejected]) -> tuple[str, ...]:
    """What is wrong with the model as a judge, after all of its judgements in this run."""
    passages = [found.payload for found in anyio.from_thread.run(context.board.all, Passage)]
    judge = record_of(pairs_of(passages, rejected))
    counted = f"they could change a reward by {judge.trust():.0%} at most"
    return tuple(f"the model as a judge: {problem}; {counted}" for problem in judge.warnings())


def _borne(text: str, cited: Sequence[Found[Finding]]) -> bool:
    quotes = "\n".join(found.payload.quote for found in cited)
    fragments = re.findall(r"`([^`]+)`|\"([^\"]+)\"|“([^”]+)”", text)
    if any(fragment not in quotes for groups in fragments for fragment in groups if fragment):
        return False
    return bool(content_stems(text) & content_stems(quotes))


def _labels(roots: Sequence[str]) -> list[str]:
    """A folder goes by its name; a file's path is its name already."""
    if len(roots) < 2:
        return []
    return [Path(root).resolve().name if Path(root).is_dir() else "" for root in roots]


def _span(finding: Finding) -> Span:
    return Span(
        root=finding.root,
        path=finding.path,
        page=finding.page,
        start_line=finding.start_line,
        end_line=finding.end_line,
    )


def _payload(material: Material) -> Report:
    return Report(
        question=material.question,
        mode=material.mode,
        answer="\n".join(line_of(statement, material.labels) for statement in material.statements),
        statements=tuple(material.statements),
        findings=tuple(map(_cited, material.findings)),
        markdown=render(material),
        verified=len(material.findings),
        rejected=sum(1 for item in material.rejected if item.reason != "duplicate") + material.changed,
        merged=material.merged,
        dropped_statements=material.dropped,
        warnings=tuple(material.warnings),
    )


def _cited(found: Found[Finding]) -> Cited:
    finding = found.payload
    return Cited(
        **_span(finding).model_dump(),
        quote=finding.quote,
        direction=finding.topic,
        reward=finding.reward,
        relevance=finding.relevance,
        artifact=found.id,
    )
