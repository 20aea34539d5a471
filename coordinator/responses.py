"""Responses on the bus: whoever answers an open inquiry there is heard by the leader of its run."""

from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from coordinator.effects import RECORDED
from coordinator.observations import Refused
from coordinator.office import Office
from coordinator.topology import response_consumers
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, StoreUnavailable, TransportUnavailable
from protocol.messages import AnswerRequest, SwarmResponse
from protocol.transport.contract import ConsumerSpec, Delivery

CREDITS = 64
RETRY_SECONDS = 1.0
ENSURE_SECONDS = 10.0
REQUEST_SECONDS = 5.0


async def take_responses(office: Office) -> None:
    """Hands responses to the leaders until cancelled; makes its queues again where the bus has lost them."""
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        await _ensure(office)
        for consumer in response_consumers():
            await _take(office, consumer, tasks, stack)
        while True:
            await anyio.sleep(ENSURE_SECONDS)
            await _ensure(office)


async def _ensure(office: Office) -> None:
    while True:
        try:
            await office.transport.ensure((), response_consumers())
        except TransportUnavailable:
            await anyio.sleep(RETRY_SECONDS)
        else:
            return


async def _take(office: Office, consumer: ConsumerSpec, tasks: TaskGroup, stack: AsyncExitStack) -> None:
    def take(delivery: Delivery) -> None:
        puller.add_credits(1)
        if RECORDED in delivery.headers:
            delivery.ack()
            return
        try:
            response = decode_as(delivery.data, SwarmResponse)
        except InvalidMessage:
            office.observers.notify(Refused("message", "invalid"))
            delivery.term()
        else:
            tasks.start_soon(_hand_over, office, response, delivery)

    puller = await stack.enter_async_context(office.transport.pull(consumer.stream, consumer.durable, take))
    puller.add_credits(CREDITS)


async def _hand_over(office: Office, response: SwarmResponse, delivery: Delivery) -> None:
    """Asks the leader to record it; one for a run that is not active is nobody's business."""
    request = AnswerRequest.model_validate(response.model_dump(exclude={"run"}))
    _, data = office.post.sealed(request)
    subject = subjects.board(response.run, office.post.name, "answer")
    try:
        if response.run in await office.store.runs(active=True):
            await office.transport.request(subject, data, timeout_seconds=REQUEST_SECONDS)
    except (StoreUnavailable, TransportUnavailable):
        delivery.nak(RETRY_SECONDS)
    else:
        delivery.ack()
