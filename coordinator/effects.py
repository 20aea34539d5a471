"""Lets committed effects out: dispatches, grants, replies, acknowledgements, receipts, dead letters."""

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import anyio
from anyio.abc import TaskGroup

from blackboard.encoding import decode_artifact, decode_steps
from blackboard.state import RunState, TaskRow
from coordinator.decision import (
    Acknowledge,
    AnswerClaim,
    Bury,
    Effect,
    Publish,
    Reply,
    ReplyOnceOnDisk,
    Ring,
    SendDrop,
    SendReceipt,
    SendRefusal,
)
from coordinator.decisions.dispatch import deadline_ms
from coordinator.observations import StoreRetry
from coordinator.office import Office
from coordinator.outbox import Outbox
from coordinator.reading import step_row_keys
from coordinator.run import Run
from protocol import subjects
from protocol.artifacts import Artifact
from protocol.errors import StoreUnavailable, TransportUnavailable
from protocol.messages import (
    ClaimReply,
    Control,
    DeadLetter,
    Grant,
    Lease,
    Refusal,
    Step,
    SwarmInquiry,
    SwarmResponse,
)
from protocol.transport.contract import Delivery, Message

STEPS_PAGE = 200
RECORDED = "Swarm-Recorded"
"""Header of responses that tell what is in the log already."""
BURY_SECONDS = 1.0
"""How long a run's last dead letter may hold up the end of its lead."""


class Release:
    """Sends what a committed group has to say. One control message per worker and group."""

    def __init__(self, office: Office, run: Run, outbox: Outbox, tasks: TaskGroup) -> None:
        self._office = office
        self._run = run
        self._outbox = outbox
        self._tasks = tasks

    def all(self, effects: Sequence[Effect]) -> None:  # noqa: C901 - one per effect
        dispatches: list[Publish] = []
        settled: dict[str, list[tuple[str, str]]] = defaultdict(list)
        stale: dict[str, list[Refusal]] = defaultdict(list)
        drops: dict[str, list[Lease]] = defaultdict(list)
        for effect in effects:
            match effect:
                case Publish():
                    dispatches.append(effect)
                case AnswerClaim():
                    self._answer_claim(effect)
                case Acknowledge():
                    cast("Delivery", effect.source).ack()
                case SendReceipt():
                    settled[effect.worker].append((effect.task, effect.token))
                case SendRefusal():
                    stale[effect.worker].append(effect.refusal)
                case SendDrop():
                    drops[effect.worker].append(effect.lease)
                case Reply():
                    self._office.post.reply(cast("Message", effect.source), effect.message)
                case ReplyOnceOnDisk():
                    self._tasks.start_soon(self._reply_once_on_disk, effect)
                case Bury():
                    self._tasks.start_soon(self._bury, effect.letter)
                case Ring():
                    self._ring(effect.inquiry)
        self._outbox.publish(self._run.state, dispatches)
        for worker in sorted({*settled, *stale, *drops}):
            counted, refused = tuple(settled[worker]), tuple(stale[worker])
            control = Control(settled=counted, stale=refused, drop=tuple(drops[worker]))
            self._office.post.control(worker, control)

    async def _reply_once_on_disk(self, effect: ReplyOnceOnDisk) -> None:
        """Without an answer the request is repeated, and waits again."""
        try:
            await self._office.store.sync()
        except StoreUnavailable:
            self._office.observers.notify(StoreRetry(self._run.state.spec.run, "sync"))
            return
        self._office.post.reply(cast("Message", effect.source), effect.message)

    def _ring(self, identity: str) -> None:
        """Says that an inquiry is open, or how it was answered. The record in the log is the truth."""
        state = self._run.state
        row = state.inquiries[identity]
        if row.open:
            subject, message_id = subjects.inquiry(row.wait.target), f"{state.spec.run}.{identity}.asked"
            bell = SwarmInquiry(
                run=state.spec.run,
                inquiry=identity,
                asker=row.asker,
                task=row.task,
                wait=row.wait,
                until_ms=row.until_ms,
            )
        elif row.answer is not None:
            subject, message_id = subjects.response(row.asker), f"{state.spec.run}.{identity}.answered"
            bell = SwarmResponse(
                run=state.spec.run,
                inquiry=identity,
                answerer=row.answerer or "",
                answer=row.answer.value,
                failure=row.answer.failure,
                approves=row.wait.approves,
            )
        else:
            return
        headers = {"Nats-Msg-Id": message_id, RECORDED: "1"}
        self._office.transport.emit(subject, self._office.post.sealed(bell)[1], headers)

    def _answer_claim(self, effect: AnswerClaim) -> None:
        state = self._run.state
        tasks = [state.tasks[lease.task] for lease in effect.granted]
        if all(not task.steps and not state.directions[task.direction].inputs for task in tasks):
            leases = zip(effect.granted, tasks, strict=True)
            grants = tuple(_grant(state, lease, task, effect.number) for lease, task in leases)
            self._reply(effect, grants, effect.refused)
        else:
            self._tasks.start_soon(self._answer_with_reads, effect, tasks)

    async def _answer_with_reads(self, effect: AnswerClaim, tasks: Sequence[TaskRow]) -> None:
        """Completes grants with inputs and journals; a store that fails leaves the claim to be repeated.

        The rows are at hand, for a task may end meanwhile, and be forgotten.
        """
        state = self._run.state
        grants: list[Grant] = []
        room = self._office.settings.limits.reply_bytes
        try:
            for lease, task in zip(effect.granted, tasks, strict=True):
                inputs = await self._inputs(state, task, room)
                room -= sum(len(data) for _, data in inputs)
                steps, room = await self._steps(state, task, room)
                grants.append(
                    _grant(
                        state,
                        lease,
                        task,
                        effect.number,
                        inputs=tuple(artifact for artifact, _ in inputs),
                        steps=steps,
                    )
                )
        except StoreUnavailable:
            return
        self._reply(effect, tuple(grants), effect.refused)

    async def _inputs(self, state: RunState, task: TaskRow, room: int) -> list[tuple[Artifact, bytes]]:
        """As many whole input artifacts as fit into `room` bytes, in their order."""
        ids = state.directions[task.direction].inputs
        rows = await self._office.store.artifacts(state.spec.run, ids)
        now_ms = self._office.clock.now_ms()
        found: list[tuple[Artifact, bytes]] = []
        for identity in ids:
            data = rows.get(identity)
            if data is None:
                continue
            room -= len(data)
            if room < 0:
                break
            artifact = decode_artifact(data)
            if artifact.visible_to(task.agent, now_ms):
                found.append((artifact, data))
        return found

    async def _steps(self, state: RunState, task: TaskRow, room: int) -> tuple[tuple[Step, ...], int]:
        """The first page of the journal, and the room that it leaves."""
        keys = step_row_keys(task.id, 0, min(task.steps, STEPS_PAGE))
        if not keys:
            return (), room
        rows = await self._office.store.rows(state.spec.run, "step", keys)
        kept: dict[str, bytes] = {}
        for key in sorted(rows):
            room -= len(rows[key])
            if room < 0:
                break
            kept[key] = rows[key]
        return tuple(decode_steps(kept)), room

    def _reply(self, effect: AnswerClaim, grants: tuple[Grant, ...], refusals: tuple[Refusal, ...]) -> None:
        message = cast("Message", effect.source)
        self._office.post.reply(message, ClaimReply(grants=grants, refusals=refusals))

    async def _bury(self, letter: DeadLetter) -> None:
        """The record in the log is the truth; the message is a courtesy that may be lost."""
        _, data = self._office.post.sealed(letter)
        try:
            with anyio.move_on_after(BURY_SECONDS, shield=True):
                await self._office.transport.publish(
                    subjects.DEAD, data, message_id=f"{letter.run}.{letter.task}.dead"
                )
        except TransportUnavailable:
            return


def _grant(
    state: RunState,
    lease: Lease,
    task: TaskRow,
    number: int,
    *,
    inputs: tuple[Artifact, ...] = (),
    steps: tuple[Step, ...] = (),
) -> Grant:
    direction = state.directions[task.direction]
    origin = state.spec.origin
    return Grant.trusted(
        task=task.id,
        token=lease.token,
        number=number,
        run=state.spec.run,
        attempt=task.attempt,
        agent=task.agent,
        direction=task.direction,
        visit=task.visit,
        goal=state.spec.goal,
        topic=direction.topic,
        inputs=inputs,
        input_ids=direction.inputs,
        settings=state.spec.settings,
        steps=steps,
        steps_more=len(steps) < task.steps,
        steps_shared=task.shared_steps,
        steps_pinned=origin is not None and origin.verb == "fork",
        deadline_ms=deadline_ms(state, task.agent),
    )
