"""An agent that loses the outcome of what it does, and one whose code changes while its task is under way."""

from pydantic import JsonValue

from agents.agent import AgentFailure, Context, Discovery, agent
from protocol.artifacts import artifact
from protocol.messages import Record


@artifact("receipt")
class Receipt(Record):
    value: JsonValue


@agent("send", publishes=[Receipt])
async def send(context: Context) -> Discovery:
    async def call(key: str) -> JsonValue:
        if context.attempt == 1:
            raise AgentFailure("transient", "the line went dead")
        return f"sent {key}"

    return Discovery([Receipt(value=await context.effect("mail", context.topic, call))], reward=1.0)


@agent("waver", publishes=[Receipt])
async def waver(context: Context) -> Discovery:
    async def call() -> JsonValue:
        return "answered"

    value = await context.step("ask", {"attempt": context.attempt, "about": context.topic}, call)
    if context.attempt == 1:
        raise AgentFailure("transient", "once more")
    return Discovery([Receipt(value=value)], reward=1.0)
