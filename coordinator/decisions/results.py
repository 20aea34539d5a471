"""Discoveries: a result is folded once, under the token of its task's newest dispatch, or refused."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

from blackboard import events as ev
from blackboard.events import MICRO, Event
from blackboard.state import RunState, TaskRow
from coordinator.decision import Acknowledge, Bury, Commit, Decision, Env, SendReceipt, SendRefusal
from coordinator.decisions.directions import follow_ups, triggered
from coordinator.decisions.dispatch import is_late
from coordinator.decisions.waiting import settled, suspend
from coordinator.run import Run
from protocol.artifacts import Artifact, Producer, canonical_json
from protocol.errors import ArtifactConflict, MessageTooLarge
from protocol.ids import artifact_id
from protocol.messages import (
    INLINE_BODY_BYTES,
    NO_USAGE,
    ArtifactDraft,
    DeadLetter,
    Failure,
    Refusal,
    SwarmDiscovery,
)

BACKOFF_BASE_MS = 1_000
BACKOFF_LIMIT_MS = 60_000


def commit(run: Run, command: Commit, env: Env) -> Decision:
    """Settles or requeues the task of a discovery; a stale one is refused and recorded (P3)."""
    state = run.state
    discovery = command.discovery
    task = state.tasks.get(discovery.task)
    decision = Decision(effects=[Acknowledge(command.source)])
    reason = _stale(task, discovery)
    if task is None or reason:
        decision.events.append(
            ev.ResultRefused(
                at_ms=env.now_ms,
                task=discovery.task,
                token=discovery.token,
                worker=discovery.worker,
                reason=reason,
            )
        )
        refusal = Refusal(task=discovery.task, token=discovery.token, reason=reason)
        decision.effects.append(SendRefusal(discovery.worker, refusal))
        return decision
    if task.status in ("dispatched", "running"):
        _settle(run, task, discovery, env, decision)
    decision.effects.append(SendReceipt(discovery.worker, task.id, task.token))
    return decision


def _stale(task: TaskRow | None, discovery: SwarmDiscovery) -> str:
    """Why a result is refused; empty when it counts now or counted before under the same token.

    A store that came back older may have lost a claim: then another worker may hold the task under its token.
    """
    if task is None:
        return "no such task"
    if task.token != discovery.token:
        return f"the task moved on to attempt {task.attempt}" if task.token else f"the task is {task.status}"
    if task.worker is not None and task.worker != discovery.worker:
        return f"worker {task.worker} claimed the task anew, as the first claim was lost"
    return ""


def _settle(run: Run, task: TaskRow, discovery: SwarmDiscovery, env: Env, decision: Decision) -> None:
    state = run.state
    if discovery.outcome == "done":
        try:
            artifacts = _artifacts(state, task, discovery.artifacts, env)
        except (ArtifactConflict, MessageTooLarge) as error:
            failure = Failure(kind="bug", message=str(error))
            decision.events += end(state, task, env, "dead", str(error), failure, decision, discovery)
        else:
            settled(state, task, env, decision, artifacts)
            decision.events += _done(run, task, discovery, artifacts, env)
    elif discovery.outcome == "released":
        decision.events.append(_requeued(task, discovery, env, "released"))
    elif discovery.outcome == "waiting" and discovery.waits:
        suspend(state, task, discovery, env, decision)
    else:
        failure = discovery.failure or Failure(kind="bug", message="failed without saying why")
        decision.events += _failed(state, task, discovery, failure, env, decision)


def _done(
    run: Run, task: TaskRow, discovery: SwarmDiscovery, artifacts: Sequence[Artifact], env: Env
) -> list[Event]:
    now = env.now_ms
    events: list[Event] = [ev.ArtifactPosted(at_ms=now, artifact=artifact) for artifact in artifacts]
    events.append(
        ev.TaskSettled(
            at_ms=now,
            task=task.id,
            token=task.token,
            status="done",
            worker=discovery.worker,
            reward_micro=round(discovery.reward * MICRO),
            usage=discovery.usage,
            artifacts=len(artifacts),
        )
    )
    events += follow_ups(run, task, discovery.follow_ups, env)
    events += triggered(run, task, artifacts, env)
    if discovery.exhausted and run.state.directions[task.direction].retired is None:
        events.append(
            ev.DirectionRetired(at_ms=now, direction=task.direction, reason="exhausted: nothing more to find")
        )
    return events


def _artifacts(
    state: RunState, task: TaskRow, drafts: Sequence[ArtifactDraft], env: Env
) -> Sequence[Artifact]:
    """:raises ArtifactConflict: when two drafts have one id and differ.
    :raises MessageTooLarge: for a payload that no reply could carry.
    """
    if not drafts:
        return ()
    artifacts: dict[str, Artifact] = {}
    ordinals: dict[str, int] = {}
    producer = Producer(agent=task.agent, task=task.id, attempt=task.attempt)
    for draft in drafts:
        ordinal = ordinals[draft.type] = ordinals.get(draft.type, 0) + 1
        identity = artifact_id(task.id, draft.type, draft.key or str(ordinal))
        digest = _digest_of_payload(draft) if draft.body is None else draft.body.digest
        if identity in artifacts:
            if artifacts[identity].digest != digest:
                raise ArtifactConflict(identity)
            continue
        artifacts[identity] = Artifact(
            id=identity,
            run=state.spec.run,
            number=state.totals.artifacts + len(artifacts) + 1,
            type=draft.type,
            version=draft.version,
            payload=draft.payload if draft.body is None else None,
            body=draft.body,
            digest=digest,
            producer=producer,
            direction=task.direction,
            parents=draft.parents,
            correlation=draft.correlation,
            tags=draft.tags,
            visibility=draft.visibility,
            text=draft.text,
            created_ms=env.now_ms,
            expires_ms=draft.expires_ms,
        )
    return tuple(artifacts.values())


def _digest_of_payload(draft: ArtifactDraft) -> str:
    raw = canonical_json(draft.payload)
    if len(raw) > INLINE_BODY_BYTES:
        raise MessageTooLarge(f"payload of {draft.type}", len(raw), INLINE_BODY_BYTES)
    return sha256(raw).hexdigest()


def _failed(
    state: RunState, task: TaskRow, discovery: SwarmDiscovery, failure: Failure, env: Env, decision: Decision
) -> list[Event]:
    if failure.kind in ("capacity", "transient") and is_late(state, task.agent, env.now_ms):
        reason = f"the deadline has passed; {failure.kind}: {failure.message}"
        return end(state, task, env, "cancelled", reason, failure, decision, discovery)
    wait_ms = round((failure.retry_after_seconds or 0) * 1000)
    if failure.kind == "capacity":
        wait_ms = wait_ms or round(BACKOFF_LIMIT_MS / 2 * (1 + env.draw()))
        return [_requeued(task, discovery, env, "capacity", wait_ms)]
    if failure.kind == "transient" and task.tries < state.spec.max_attempts:
        jitter = env.draw() * min(BACKOFF_LIMIT_MS, BACKOFF_BASE_MS * 2**task.tries)
        return [_requeued(task, discovery, env, "transient", max(wait_ms, round(jitter)))]
    status = "failed" if failure.kind == "user" else "dead"
    reason = f"{failure.kind}: {failure.message}"
    if failure.kind == "transient":
        reason += f" (after {task.tries} attempts)"
    return end(state, task, env, status, reason, failure, decision, discovery)


def _requeued(
    task: TaskRow,
    discovery: SwarmDiscovery,
    env: Env,
    cause: Literal["released", "transient", "capacity"],
    wait_ms: int = 0,
) -> ev.TaskRequeued:
    """Only a transient failure uses up an attempt."""
    message = discovery.failure.message if discovery.failure else f"by worker {discovery.worker}"
    return ev.TaskRequeued(
        at_ms=env.now_ms,
        task=task.id,
        token=task.token,
        cause=cause,
        reason=f"{cause}: {message}",
        uses_attempt=cause == "transient",
        not_before_ms=env.now_ms + wait_ms if wait_ms else 0,
        usage=discovery.usage,
        failure=discovery.failure,
    )


def end(
    state: RunState,
    task: TaskRow,
    env: Env,
    status: Literal["failed", "dead", "cancelled"],
    reason: str,
    failure: Failure | None,
    decision: Decision,
    discovery: SwarmDiscovery | None = None,
) -> list[Event]:
    """Ends a task without a result: `failed`, `dead` (with a letter to the operator) or `cancelled`.

    A direction whose task cannot end well retires, so that it is not tried again and again.
    """
    events: list[Event] = [
        ev.TaskSettled(
            at_ms=env.now_ms,
            task=task.id,
            token=task.token,
            status=status,
            reason=reason[:4000],
            worker=discovery.worker if discovery else None,
            usage=discovery.usage if discovery else NO_USAGE,
            failure=failure,
        )
    ]
    told = failure or Failure(kind="user" if status == "cancelled" else "bug", message=reason[:4000])
    settled(state, task, env, decision, told)
    if status == "cancelled":
        return events
    if state.directions[task.direction].retired is None:
        events.append(
            ev.DirectionRetired(
                at_ms=env.now_ms,
                direction=task.direction,
                reason=f"its task ended {status}: {reason}"[:500],
                task=task.id,
            )
        )
    if status == "dead":
        decision.effects.append(
            Bury(
                DeadLetter(
                    run=state.spec.run,
                    task=task.id,
                    agent=task.agent,
                    direction=task.direction,
                    attempts=task.attempt,
                    reason=reason[:4000],
                    failure=failure,
                )
            )
        )
    return events
