"""Tasks of a run that has ended begin again: nobody leads it, so whoever asks does, for one append."""

import secrets
import time

import anyio

from blackboard.encoding import decode_state, encode_changes, encode_event
from blackboard.store import Batch, BlackboardStore
from coordinator.decide import decide
from coordinator.decision import Effect, Env, Reply, Retry
from coordinator.recall import Recall
from coordinator.run import Run
from coordinator.submit import RETRY_AFTER_SECONDS
from protocol.errors import NotFound, Overloaded, StoreUnavailable
from protocol.messages import RetryReply, RetryRequest

LEASE_SECONDS = 10.0
ATTEMPTS = 5
PAUSE_SECONDS = 0.5


async def reopen(
    store: BlackboardStore, run: str, request: RetryRequest, *, max_active: int
) -> RetryReply | None:
    """Retries tasks of an ended run, which goes on with that; None when it has not ended, or is led.

    :raises Overloaded: when `max_active` runs are active.
    :raises NotFound: when there is no such run.
    :raises StoreUnavailable: when it may or may not have happened: ask again.
    """
    token = secrets.token_hex(12)
    if not await store.acquire(run, token, ttl_seconds=LEASE_SECONDS):
        return None
    try:
        loaded = await store.load(run)
        if not loaded.head:
            raise NotFound("run", run)
        held = Run.of(decode_state(loaded))
        if not held.state.totals.ended:
            return None
        env = Env(time.time_ns() // 1_000_000, lambda: secrets.token_hex(12), lambda: 0.0)
        recall = Recall(store, held.state)
        request, tasks, inquiries = await recall.retriable(request)
        with recall.remembering(tasks, inquiries):
            decision = decide(held, Retry(request, None), env)
            for event in decision.events:
                held.apply(event)
        if decision.events:
            if len(await store.runs(active=True)) >= max_active:
                raise Overloaded("active runs", max_active, RETRY_AFTER_SECONDS)
            await store.reopen(run)
            events = [encode_event(event) for event in decision.events]
            written = encode_changes(held.state)
            batch = Batch(run, token, loaded.head, events, written.rows, dropped=written.dropped)
            await append_until_definite(store, batch)
        return _reply(decision.effects)
    finally:
        with anyio.move_on_after(1, shield=True):
            await store.release(run, token)


async def append_until_definite(store: BlackboardStore, batch: Batch) -> None:
    """Repeats the same batch until the answer is definite, within the lease."""
    for _ in range(ATTEMPTS - 1):
        try:
            await store.append(batch, ttl_seconds=LEASE_SECONDS)
        except StoreUnavailable:
            await anyio.sleep(PAUSE_SECONDS)
        else:
            return
    await store.append(batch, ttl_seconds=LEASE_SECONDS)


def _reply(effects: list[Effect]) -> RetryReply:
    (reply,) = (effect.message for effect in effects if isinstance(effect, Reply))
    return RetryReply.model_validate(reply.model_dump())
