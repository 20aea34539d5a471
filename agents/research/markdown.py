"""The report as Markdown. Text of documents stays text: it cannot end its fence or load an image."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.agent import Found
from agents.research.artifacts import CorpusSummary, Finding, Mode, Plan, Rejected, Statement

EVIDENCE_SHOWN = 30
"""Findings beyond these are listed by their citation alone."""
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of. `findings` are ranked and hold; `changed` no longer held at the end."""

    question: str
    mode: Mode
    statements: Sequence[Statement]
    findings: Sequence[Found[Finding]]
    rejected: Sequence[Rejected]
    changed: int
    merged: int
    dropped: int
    plan: Plan | None
    labels: Sequence[str] = ()
    """Names of the corpus roots, when there are several."""
    warnings: Sequence[str] = ()
    """What is wrong with the model's judgements."""


def render(material: Material) -> str:
    """The whole report."""
    parts = (_head, _evidence, _explored, _open, _method)
    return "\n".join(line for part in parts for line in part(material)) + "\n"


def line_of(statement: Statement, labels: Sequence[str]) -> str:
    """A statement with its citations."""
    citations = " ".join(f"[{span.citation_in(labels)}]" for span in statement.citations)
    return f"{plain(statement.text)} {citations}"


def plain(text: str) -> str:
    """One line in which no markup of the text's own takes effect."""
    line = " ".join(text.split())
    if line.startswith("`") and line.endswith("`"):
        return line
    return line.replace("<", "&lt;").replace("[", "\\[")


def fenced(text: str) -> str:
    """A block that shows text as it is, whatever fences it holds itself."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _head(material: Material) -> Iterator[str]:
    yield f"# {plain(material.question)}\n"
    if material.mode == "extractive":
        yield "_Found without a language model: each statement is a sentence of the corpus itself._\n"
    else:
        yield "_Written by a language model from verified quotations; each statement cites its own._\n"
    yield "## Answer\n"
    if not material.statements:
        yield "The corpus gave no statement that answers the question."
    for statement in material.statements:
        yield f"- {line_of(statement, material.labels)}"
    yield ""


def _evidence(material: Material) -> Iterator[str]:
    yield "## Evidence\n"
    if not material.findings:
        yield "No passage was found.\n"
    groups: dict[str, list[Found[Finding]]] = {}
    for found in material.findings[:EVIDENCE_SHOWN]:
        groups.setdefault(found.payload.topic, []).append(found)
    for topic, group in groups.items():
        yield f"### {plain(topic)}\n"
        for found in group:
            finding = found.payload
            heading = f" {plain(finding.heading)}" if finding.heading else ""
            yield f"**{finding.citation_in(material.labels)}**{heading} (relevance {finding.relevance:.2f})\n"
            yield fenced(finding.quote.replace("\r\n", "\n")) + "\n"
    rest = material.findings[EVIDENCE_SHOWN:]
    if rest:
        yield (
            "Further passages: "
            + ", ".join(found.payload.citation_in(material.labels) for found in rest)
            + "\n"
        )


def _explored(material: Material) -> Iterator[str]:
    yield "## What was explored, and why\n"
    counts = Counter(found.payload.topic for found in material.findings)
    planned = {item.topic: item.why for item in material.plan.directions} if material.plan else {}
    for topic, why in planned.items():
        yield f"- {plain(topic)}: {plain(why)}; {_passages(counts[topic])}"
    for topic, count in counts.items():
        if topic not in planned:
            yield f"- {plain(topic)}: led to by what was found before; {_passages(count)}"
    if material.plan:
        corpus = material.plan.corpus
        read = f"{counted(corpus.files, 'file')}, {counted(corpus.size_bytes, 'byte')}"
        yield f"\nRead: {read}, in {counted(corpus.chunks, 'passage')}."
    else:
        yield "Nothing: there was no plan. The end of this report says why."
    yield ""


def _open(material: Material) -> Iterator[str]:
    yield "## What remains open\n"
    nothing = "Nothing that the plan asked for was left without a passage" if material.plan else "All of it"
    yield from list(_gaps(material)) or [f"- {nothing}."]
    yield ""


def _gaps(material: Material) -> Iterator[str]:
    found = {found.payload.topic for found in material.findings}
    plan = material.plan
    if plan is not None:
        if plan.unknown_terms:
            words = ", ".join(map(plain, plan.unknown_terms))
            yield f"- Words of the question that the corpus does not hold: {words}."
        for direction in plan.directions:
            if direction.topic not in found:
                yield f"- No passage of its own: {plain(direction.topic)}."
        held = {term for item in material.findings for term in item.payload.terms}
        missing = [term for term in plan.terms if term not in held]
        if missing:
            yield f"- Words of the question that no cited passage holds: {', '.join(map(plain, missing))}."
        if plan.corpus.skipped_total:
            yield f"- Not read: {plain(left_out(plan.corpus))}."
    refused = [item for item in material.rejected if item.reason != "duplicate"]
    for item in refused[:_LISTED]:
        place = f"{plain(item.path)}:{item.start_line}-{item.end_line}"
        yield f"- Rejected ({item.reason}): {place}: {plain(item.detail)}."
    if len(refused) > _LISTED:
        yield f"- And {len(refused) - _LISTED} more; their records are on the board."


def _method(material: Material) -> Iterator[str]:
    refused = sum(1 for item in material.rejected if item.reason != "duplicate") + material.changed
    yield "## How this was verified\n"
    yield (
        "Each quotation is read again from its file when the report is written, and must stand there "
        f"byte for byte at the lines cited. Held: {len(material.findings)}. "
        f"Left out, because they did not: {refused}. Merged, as near-duplicates: {material.merged}."
    )
    if material.dropped:
        statements = counted(material.dropped, "statement")
        yield f"\nDropped, because nothing that is cited bears it: {statements} of the model."
    for warning in material.warnings:
        yield f"\n**Warning**: {plain(warning)}."
    if material.plan and material.plan.corpus.latin1_files:
        yield f"\nNot UTF-8, and read as Latin-1: {counted(material.plan.corpus.latin1_files, 'file')}."


def _passages(count: int) -> str:
    return counted(count, "passage") if count else "no passage of its own"


def left_out(corpus: CorpusSummary) -> str:
    """How much of a corpus was not read, and why: `2 files or folders: binary (1); larger than 5 MiB (1)`."""
    reasons = Counter(item.reason for item in corpus.skipped)
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())
    what = "file or folder" if corpus.skipped_total == 1 else "files or folders"
    return f"{corpus.skipped_total:,} {what}: {listed}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
