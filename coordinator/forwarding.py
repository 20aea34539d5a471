"""Forwards what arrives on the bare roots, so that a worker in any language needs to know only those."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from coordinator.observations import Refused
from coordinator.office import Office
from coordinator.topology import bare_discovery_consumer, bare_inquiry_consumer, bare_task_consumer
from protocol import subjects
from protocol.codec import decode
from protocol.errors import InvalidMessage, TransportUnavailable
from protocol.messages import SwarmDiscovery, SwarmHeartbeat, SwarmInquiry, SwarmTask
from protocol.transport.contract import ConsumerSpec, Delivery, Message

CREDITS = 64
RETRY_SECONDS = 1.0


def destination(data: bytes) -> tuple[str, str]:
    """The subject that a message on a bare root belongs to, and its message id.

    :raises InvalidMessage: for a message that has no business on a bare root.
    """
    envelope = decode(data)
    match envelope.body:
        case SwarmTask():
            return subjects.tasks(envelope.body.agent), envelope.id
        case SwarmDiscovery():
            return subjects.discoveries(envelope.body.worker, envelope.body.run), envelope.id
        case SwarmHeartbeat():
            return subjects.heartbeat(envelope.body.worker), envelope.id
        case SwarmInquiry():
            return subjects.inquiry(envelope.body.wait.target), envelope.id
        case _:
            raise InvalidMessage("type", f"{envelope.type} is not forwarded", "publish on its own subject")


async def forward_bare_roots(office: Office) -> None:
    """Forwards until cancelled."""
    consumers = (bare_task_consumer(), bare_discovery_consumer(), bare_inquiry_consumer())
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        while True:
            try:
                await office.transport.ensure((), consumers)
                break
            except TransportUnavailable:
                await anyio.sleep(RETRY_SECONDS)
        for consumer in consumers:
            await _forward(office, consumer, tasks, stack)
        await stack.enter_async_context(
            office.transport.subscribe("swarm.heartbeat", _beats(office), queue="forwarding")
        )
        await anyio.sleep_forever()


def _beats(office: Office) -> Callable[[Message], None]:
    def forward(message: Message) -> None:
        try:
            subject, _ = destination(message.data)
        except InvalidMessage:
            office.observers.notify(Refused("message", "invalid"))
        else:
            office.transport.emit(subject, message.data)

    return forward


async def _forward(office: Office, consumer: ConsumerSpec, tasks: TaskGroup, stack: AsyncExitStack) -> None:
    def forward(delivery: Delivery) -> None:
        puller.add_credits(1)
        try:
            subject, message_id = destination(delivery.data)
        except InvalidMessage:
            office.observers.notify(Refused("message", "invalid"))
            delivery.term()
        else:
            tasks.start_soon(publish, delivery, subject, message_id)

    async def publish(delivery: Delivery, subject: str, message_id: str) -> None:
        try:
            await office.transport.publish(subject, delivery.data, message_id=f"{message_id}.forwarded")
        except TransportUnavailable:
            delivery.nak(RETRY_SECONDS)
        else:
            delivery.ack()

    puller = await stack.enter_async_context(
        office.transport.pull(consumer.stream, consumer.durable, forward)
    )
    puller.add_credits(CREDITS)
