"""Tasks that wait for an agent, a person, a signal or a moment; what they asked, and how it was answered.

An inquiry's first end counts: by an answer, by its time, or because nobody waits any more. Events about
one that has ended change nothing, so decisions on many tasks at once need not know of each other.
"""

from collections.abc import Collection, Sequence

from blackboard import events as ev
from blackboard.events import Event
from blackboard.state import InquiryRow, RunState, TaskRow
from coordinator.decision import AnswerInquiry, Decision, Env, Reply, Ring
from coordinator.decisions.dispatch import is_late
from protocol.artifacts import Artifact, canonical_json
from protocol.ids import derive, inquiry_id
from protocol.messages import (
    INLINE_BODY_BYTES,
    TOPIC_LIMIT,
    Answer,
    AnswerReply,
    AnswerRequest,
    Failure,
    SwarmDiscovery,
    Wait,
)

CLOCK = "clock"
"""Who answers what ends by time."""


def suspend(state: RunState, task: TaskRow, discovery: SwarmDiscovery, env: Env, decision: Decision) -> None:
    """Suspends a task until one of its waits has ended; what it no longer asks is withdrawn."""
    waits = {inquiry_id(task.id, one.path, one.request, one.occurrence): one for one in discovery.waits}
    decision.events += withdraw(state, task, env, "it is asked no more", keep=waits)
    ended = False
    for identity, wait in waits.items():
        row = state.inquiries.get(identity)
        if row is not None and row.withdrawn is None:
            ended |= not row.open
            continue
        refusal = _ask(state, task, identity, wait, env, decision)
        if refusal:
            failure = Failure(kind="user", message=refusal)
            decision.events.append(_answered(identity, "coordinator", Answer(failure=failure), env))
            ended = True
        elif wait.kind != "time":
            decision.effects.append(Ring(identity))
    decision.events.append(
        _given_back(task, discovery, env) if ended else _suspended(task, discovery, waits, env)
    )


def _given_back(task: TaskRow, discovery: SwarmDiscovery, env: Env) -> ev.TaskRequeued:
    return ev.TaskRequeued(
        at_ms=env.now_ms,
        task=task.id,
        token=task.token,
        cause="answered",
        reason="an answer was there already",
        uses_attempt=False,
        usage=discovery.usage,
    )


def _suspended(
    task: TaskRow, discovery: SwarmDiscovery, inquiries: Collection[str], env: Env
) -> ev.TaskSuspended:
    return ev.TaskSuspended(
        at_ms=env.now_ms,
        task=task.id,
        token=task.token,
        inquiries=tuple(inquiries),
        usage=discovery.usage,
    )


def _ask(state: RunState, task: TaskRow, identity: str, wait: Wait, env: Env, decision: Decision) -> str:
    """Opens an inquiry, and the direction of the agent that is asked; returns why that cannot be."""
    decision.events.append(
        ev.InquiryAsked(
            at_ms=env.now_ms,
            inquiry=identity,
            task=task.id,
            asker=task.agent,
            wait=wait,
            until_ms=_until(wait, env.now_ms),
        )
    )
    if wait.kind != "agent":
        return ""
    opened = sum(isinstance(event, ev.DirectionOpened) for event in decision.events)
    refusal = _refused_question(state, wait, opened)
    if not refusal:
        decision.events.append(
            ev.DirectionOpened(
                at_ms=env.now_ms,
                direction=derive("dir", identity, str(task.attempt)),
                agent=wait.target,
                topic=wait.question,
                parent=task.direction,
                task=task.id,
                max_visits=1,
                inquiry=identity,
            )
        )
    return refusal


def _until(wait: Wait, now_ms: int) -> int | None:
    ends = [] if wait.until_ms is None else [wait.until_ms]
    if wait.timeout_ms is not None:
        ends.append(now_ms + wait.timeout_ms)
    return min(ends, default=now_ms if wait.kind == "time" else None)


def _refused_question(state: RunState, wait: Wait, opened: int) -> str:
    """Why an agent cannot be asked; empty when it can."""
    if wait.target not in state.agents:
        return f"the run has no agent {wait.target!r}"
    if not wait.question.strip() or len(wait.question) > TOPIC_LIMIT:
        return f"a question to an agent has 1 to {TOPIC_LIMIT:,} characters"
    if state.totals.directions + opened >= state.spec.max_directions:
        return f"the run's limit of {state.spec.max_directions:,} directions is reached"
    return ""


def answer(state: RunState, command: AnswerInquiry, env: Env) -> Decision:
    """Records the first answer to an open inquiry; the same again is fine, another is refused."""
    request = command.request
    row = state.inquiries.get(request.inquiry)
    given = Answer(value=request.answer, failure=request.failure)
    refusal = _refusal(row, request, given)
    verdict = "refused" if refusal else "answered"
    decision = Decision(effects=[Reply(command.source, AnswerReply(verdict=verdict, reason=refusal))])
    if row is not None and row.open and not refusal:
        tell(state, row, request.answerer, given, env, decision)
    return decision


def _refusal(row: InquiryRow | None, request: AnswerRequest, given: Answer) -> str:
    """Why an answer is refused; empty when it counts now or counted before."""
    if row is None:
        return f"the run has no inquiry {request.inquiry}"
    if row.withdrawn is not None:
        return f"nobody waits for an answer any more: {row.withdrawn}"
    if row.answer is not None:
        return "" if given == row.answer else _ended(row)
    return _misfit(row.wait, request, given)


def _ended(row: InquiryRow) -> str:
    if row.answer is not None and row.answer.timed_out:
        return "its time has run out"
    return f"{row.answerer} has answered it already, and otherwise"


def _misfit(wait: Wait, request: AnswerRequest, given: Answer) -> str:
    if wait.kind == "time":
        return "it waits for a moment, not for an answer"
    if wait.approves is not None and request.approves != wait.approves:
        return f"it is about {wait.approves}, which the answer does not name: look again at what is approved"
    if given.failure is not None:
        return ""
    if wait.choices and given.value not in wait.choices:
        return f"the answer is none of the choices: {', '.join(wait.choices)}"
    if len(canonical_json(given.value)) > INLINE_BODY_BYTES:
        return f"the answer has more than {INLINE_BODY_BYTES:,} bytes"
    return ""


def tell(
    state: RunState, row: InquiryRow, answerer: str, given: Answer, env: Env, decision: Decision
) -> None:
    """Ends an open inquiry: its task goes on, and an agent that was to answer need not begin."""
    decision.events.append(_answered(row.id, answerer, given, env))
    decision.events += _unasked(state, row, env, "its question is answered")
    if row.wait.kind != "time":
        decision.effects.append(Ring(row.id))


def _answered(inquiry: str, answerer: str, given: Answer, env: Env) -> ev.InquiryAnswered:
    return ev.InquiryAnswered(at_ms=env.now_ms, inquiry=inquiry, answerer=answerer, answer=given)


def expire(state: RunState, env: Env, decision: Decision) -> None:
    """Ends what has waited for its time: to sleep is answered by it, all else has timed out.

    A question to an agent that may begin nothing any more ends too.
    """
    for identity in [one for one, until_ms in state.timers.items() if until_ms <= env.now_ms]:
        row = state.inquiries[identity]
        tell(state, row, CLOCK, Answer(timed_out=row.wait.kind != "time"), env, decision)
    for identity in state.asked:
        direction = state.directions[identity]
        if direction.inquiry is not None and is_late(state, direction.agent, env.now_ms):
            failure = Failure(kind="user", message="the deadline passed before anybody could answer")
            tell(state, state.inquiries[direction.inquiry], CLOCK, Answer(failure=failure), env, decision)


def settled(
    state: RunState, task: TaskRow, env: Env, decision: Decision, outcome: Sequence[Artifact] | Failure
) -> None:
    """A task ends: what it asked is withdrawn, and what it was asked is answered.

    The answer is the payload of the first artifact, or a failure.
    """
    decision.events += withdraw(state, task, env, "the task that asked has ended")
    inquiry = state.directions[task.direction].inquiry
    row = state.inquiries.get(inquiry) if inquiry is not None else None
    if row is not None and row.open:
        tell(state, row, task.agent, _outcome(outcome), env, decision)


def _outcome(outcome: Sequence[Artifact] | Failure) -> Answer:
    if isinstance(outcome, Failure):
        return Answer(failure=outcome)
    return Answer(value=outcome[0].payload, body=outcome[0].body) if outcome else Answer()


def withdraw(
    state: RunState, task: TaskRow, env: Env, reason: str, *, keep: Collection[str] = ()
) -> list[Event]:
    """Ends a task's open inquiries without an answer."""
    events: list[Event] = []
    for identity in state.asking.get(task.id, ()):
        if identity not in keep:
            events.append(ev.InquiryWithdrawn(at_ms=env.now_ms, inquiry=identity, reason=reason))
            events += _unasked(state, state.inquiries[identity], env, reason)
    return events


def _unasked(state: RunState, row: InquiryRow, env: Env, reason: str) -> list[Event]:
    """Retires the direction of an inquiry that has had no visit yet."""
    if row.direction is None or row.direction not in state.asked:
        return []
    return [ev.DirectionRetired(at_ms=env.now_ms, direction=row.direction, reason=reason)]
