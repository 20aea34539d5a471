"""Where tasks come in: pulls with as many credits as there are free slots, and refusals at the door."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from agents.ledger import Ledger
from agents.observations import MessageRefused, Observers
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage
from protocol.messages import SwarmTask
from protocol.strict_json import HANDED_OUT
from protocol.transport.contract import Delivery, Puller, Transport

Accept = Callable[[SwarmTask, Delivery], None]

_log = logging.getLogger(__name__)


class _Queue:
    """The task queue of one agent, and how many deliveries were asked for and have not come."""

    def __init__(self, puller: Puller) -> None:
        self._puller = puller
        self._asked = 0

    def top_up(self, free: int) -> None:
        if self._asked < free:
            self._puller.add_credits(free - self._asked)
            self._asked = free

    def trim(self, free: int) -> None:
        if self._asked > free:
            self._puller.drop_credits()
            self._asked = 0
            self.top_up(free)

    def count_delivery(self) -> None:
        self._asked = max(0, self._asked - 1)


class Intake:
    """Pulls the tasks of the offered agents. Every task that it passes on has taken a slot."""

    def __init__(self, transport: Transport, ledger: Ledger, accept: Accept, observers: Observers) -> None:
        self._transport = transport
        self._ledger = ledger
        self._accept = accept
        self._observers = observers
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def pulling(self) -> AsyncGenerator[None]:
        """Pulls for the length of the context."""
        async with AsyncExitStack() as stack:
            for agent in self._ledger.agents:
                durable = subjects.task_consumer(agent)
                pull = self._transport.pull(subjects.TASKS_STREAM, durable, self._receiver(agent))
                self._queues[agent] = _Queue(await stack.enter_async_context(pull))
            self.top_up()
            try:
                yield
            finally:
                self._queues = {}

    def top_up(self) -> None:
        """Asks for as many tasks of every agent as there are free slots."""
        free = self._ledger.free_slots
        if free:
            for queue in self._queues.values():
                queue.top_up(free)

    def trim(self) -> None:
        """Takes back what was asked for beyond the free slots."""
        free = self._ledger.free_slots
        for queue in self._queues.values():
            queue.trim(free)

    def _receiver(self, agent: str) -> Callable[[Delivery], None]:
        def receive(delivery: Delivery) -> None:
            queue = self._queues.get(agent)
            if queue is not None:
                queue.count_delivery()
            try:
                task = decode_as(delivery.data, SwarmTask, bounds=HANDED_OUT)
            except InvalidMessage as error:
                self._refuse(delivery, str(error))
                return
            if task.agent == agent:
                self._admit(task, delivery)
            else:
                self._refuse(delivery, f"a task for {task.agent!r} in the queue of {agent!r}")

        return receive

    def _admit(self, task: SwarmTask, delivery: Delivery) -> None:
        if self._ledger.holds(task.token):
            delivery.ack()
            self.top_up()
        elif self._ledger.free_slots:
            self._ledger.take_slot()
            self._accept(task, delivery)
        else:
            delivery.nak()

    def _refuse(self, delivery: Delivery, problem: str) -> None:
        """Another worker could not read it either: it must not come again."""
        delivery.term()
        _log.error("task message on %s refused: %s", delivery.subject, problem)
        self._observers.notify(MessageRefused(delivery.subject, problem))
        self.top_up()
