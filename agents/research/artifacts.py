"""What the research agents post. Lines count from 1; in a PDF within their `page`, which is 0 elsewhere."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from protocol.artifacts import artifact
from protocol.messages import Count, Id, Record, Topic, Unit

Line = Annotated[int, Field(ge=1)]
Mode = Literal["extractive", "model"]


class PlannedDirection(Record):
    """A first direction, why it was chosen, and the planner's guess of its reward."""

    topic: Topic
    why: str
    prior: Unit


class SkippedFile(Record):
    """A file or folder that was not read, and why."""

    path: str
    reason: str


class CorpusSummary(Record):
    """What was read. `skipped` lists at most 200 of `skipped_total`."""

    files: Count = 0
    chunks: Count = 0
    size_bytes: Count = 0
    digest: str = ""
    latin1_files: Count = 0
    """Files that are not UTF-8 and were read as Latin-1."""
    skipped: tuple[SkippedFile, ...] = ()
    skipped_total: Count = 0


@artifact("plan")
class Plan(Record):
    """How a question was turned into directions. `unknown_terms` occur nowhere in the corpus."""

    question: str
    mode: Mode = "extractive"
    terms: tuple[str, ...] = ()
    unknown_terms: tuple[str, ...] = ()
    directions: tuple[PlannedDirection, ...] = ()
    corpus: CorpusSummary = CorpusSummary()


class Span(Record):
    """A place in the corpus. `root` counts the corpus paths from 0; `path` is relative to that root."""

    root: Count = 0
    path: str
    page: Count = 0
    start_line: Line
    end_line: Line

    @property
    def citation(self) -> str:
        """`path:start-end`, or `path:page N lines start-end`."""
        return self.citation_in(())

    def citation_in(self, labels: Sequence[str]) -> str:
        """The citation after its root's label, if it has one: paths of several roots may agree."""
        label = labels[self.root] if self.root < len(labels) else ""
        path = f"{label}/{self.path}" if label else self.path
        lines = f"{self.start_line}-{self.end_line}"
        if self.start_line == self.end_line:
            lines = str(self.start_line)
        if self.page:
            return f"{path}:page {self.page} lines {lines}"
        return f"{path}:{lines}"

    def overlap(self, other: "Span") -> float:
        """The share of the shorter span's lines that both hold: 0 for other places, 1 for containment."""
        if (self.root, self.path, self.page) != (other.root, other.path, other.page):
            return 0.0
        shared = min(self.end_line, other.end_line) - max(self.start_line, other.start_line) + 1
        shorter = min(self.end_line - self.start_line, other.end_line - other.start_line) + 1
        return max(0, shared) / shorter


class Quotation(Span):
    """Text of the corpus, byte for byte: it begins in `start_line` and ends in `end_line`."""

    quote: str
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    heading: str = ""
    topic: Topic = ""
    relevance: Unit = 0.0
    terms: tuple[str, ...] = ()


@artifact("passage")
class Passage(Quotation):
    """Evidence as an explorer read it. `novelty`: the share that no earlier passage held."""

    novelty: Unit = 1.0
    why: str = ""
    fit: Unit = 0.0
    """Its relevance by the words in it alone; `relevance` where no model judged it."""
    judgement: Unit | None = None
    """What a model made of its relevance."""


class Merged(Record):
    """A near-duplicate that gave way to a finding, and how alike they are (1 is the same text)."""

    passage: Id
    citation: str
    similarity: Unit
    rule: Literal["overlap", "text"]


@artifact("finding")
class Finding(Quotation):
    """A passage whose quotation was found in the file again. `reward` is novelty times relevance."""

    passage: Id
    direction: Id
    reward: Unit = 0.0
    why: str = ""
    merged: tuple[Merged, ...] = ()


Reason = Literal["missing", "outside", "unreadable", "changed", "moved", "not_in_passage", "duplicate"]


@artifact("rejected")
class Rejected(Record):
    """A quotation that did not become a finding. `duplicate` names the finding it repeats in `of`."""

    path: str
    start_line: Count = 0
    end_line: Count = 0
    page: Count = 0
    quote: str = ""
    reason: Reason
    detail: str
    passage: Id | None = None
    of: Id | None = None
    topic: Topic = ""
    judgement: Unit | None = None
    """What a model made of the relevance of a quotation that it made up."""


class Statement(Record):
    """A sentence of the answer and the places that bear it; there is at least one."""

    text: str
    citations: Annotated[tuple[Span, ...], Field(min_length=1)]
    findings: Annotated[tuple[Id, ...], Field(min_length=1)]


class Cited(Record):
    """A finding as the report lists it. `direction` is its topic."""

    path: str
    start_line: Line
    end_line: Line
    page: Count = 0
    root: Count = 0
    quote: str
    direction: str
    reward: Unit
    relevance: Unit
    artifact: Id


@artifact("report")
class Report(Record):
    """The end of a run. `statements` make up `answer`; `findings` are ranked, best first."""

    question: str
    mode: Mode = "extractive"
    answer: str
    statements: tuple[Statement, ...] = ()
    findings: tuple[Cited, ...] = ()
    markdown: str
    verified: Count = 0
    rejected: Count = 0
    merged: Count = 0
    dropped_statements: Count = 0
    """Statements of a model that cited nothing, or something that does not bear them."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the model's judgements of relevance, and what came of it."""
