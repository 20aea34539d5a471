"""Effects: the intent before, the outcome after, and what is done about an outcome that was lost."""

from collections.abc import Callable

import anyio
import pytest

from agents.agent import Agent, AgentFailure, Context, Discovery, Happened, agent
from agents.observations import LeaseLost
from protocol.messages import Answer, RecordReply, Step, SwarmDiscovery
from tests.worker.rig import Rig, rig, virtually

KINDS = ("idempotent", "keyed", "reconcilable", "unsafe")


def sender(kind: str, reconcile: Callable | None = None) -> tuple[Agent, list[tuple[str, str]], list[object]]:
    """An agent that sends two letters; the keys and letters that left, and what it was answered."""
    sent: list[tuple[str, str]] = []
    answered: list[object] = []

    @agent("sender")
    async def send(context: Context) -> Discovery:
        for letter in ("first", "second"):

            async def call(key: str, letter: str = letter) -> str:
                sent.append((key, letter))
                return f"sent {letter}"

            answered.append(await context.effect("mail", letter, call, kind=kind, reconcile=reconcile))
        return Discovery(reward=1.0)

    return send, sent, answered


async def no_idea(_key: str) -> Happened | None:
    return None


def reconciler(kind: str) -> Callable | None:
    return no_idea if kind == "reconcilable" else None


def recorded(swarm: Rig) -> list[Step]:
    return [step for record in swarm.leader.records for step in record.steps]


async def journal_of(one: Agent) -> list[Step]:
    """What a whole run of an agent records."""
    async with rig(one) as swarm:
        await swarm.leader.dispatch(one.name, token="first")
        assert (await swarm.discovery()).outcome == "done"
        return recorded(swarm)


async def resumed(one: Agent, steps: list[Step]) -> SwarmDiscovery:
    async with rig(one) as swarm:
        await swarm.leader.dispatch(one.name, token="second", steps=steps)
        return await swarm.discovery()


@virtually
async def test_a_reconciler_that_waits_is_a_bug_and_not_waited_for_ever() -> None:
    @agent("sender")
    async def send(context: Context) -> Discovery:
        async def call(_key: str) -> str:
            return "sent"

        async def reconcile(_key: str) -> Happened | None:
            return Happened(await context.ask_human("did it leave?"))

        await context.effect("mail", "letter", call, kind="reconcilable", reconcile=reconcile)
        return Discovery()

    failure = (await resumed(send, (await journal_of(send))[:1])).failure
    assert failure is not None
    assert "nothing can be waited for within a step" in failure.message


@pytest.mark.parametrize("kind", KINDS)
def test_the_intent_is_recorded_before_the_effect_and_its_value_after(kind: str) -> None:
    @virtually
    async def run() -> None:
        one, sent, answered = sender(kind, reconciler(kind))
        steps = await journal_of(one)
        assert [step.kind for step in steps] == ["intent", "effect", "intent", "effect"]
        assert [step.occurrence for step in steps] == [0, 0, 1, 1]
        assert [step.value["effect"] for step in steps[::2]] == [kind, kind]
        assert [step.value["key"] for step in steps[::2]] == [key for key, _ in sent]
        assert [step.usage.tool_calls for step in steps] == [0, 1, 0, 1]
        assert answered == ["sent first", "sent second"]

    run()


@virtually
async def test_nothing_is_done_while_the_intent_is_not_recorded() -> None:
    one, sent, _ = sender("keyed")
    async with rig(one) as swarm:
        swarm.leader.on_record = lambda _: None
        await swarm.leader.dispatch("sender")
        await swarm.until(lambda: len(swarm.leader.records) > 2)
        assert sent == []


@virtually
async def test_a_worker_whose_lease_moved_on_is_refused_before_the_effect() -> None:
    one, sent, _ = sender("keyed")
    async with rig(one, slots=1) as swarm:
        swarm.leader.on_record = lambda _: RecordReply(verdict="stale", reason="moved on")
        await swarm.leader.dispatch("sender")
        await swarm.until(lambda: bool(swarm.saw(LeaseLost)))
        await swarm.at_rest()
        assert swarm.leader.discoveries == []
    assert sent == []


@virtually
async def test_an_intent_whose_answer_took_long_is_confirmed_again_before_the_effect() -> None:
    one, sent, _ = sender("keyed")
    async with rig(one, slots=1) as swarm:
        silent = iter([None])

        def late(request: object) -> RecordReply | None:
            if len(swarm.leader.records) > 2:
                return RecordReply(verdict="stale", reason="moved on")
            return next(silent, RecordReply(verdict="recorded"))

        swarm.leader.on_record = late
        await swarm.leader.dispatch("sender")
        await swarm.until(lambda: bool(swarm.saw(LeaseLost)))
    assert sent == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_effect_is_never_done_again(kind: str) -> None:
    @virtually
    async def run() -> None:
        first, _, before = sender(kind, reconciler(kind))
        steps = await journal_of(first)
        second, sent, after = sender(kind, reconciler(kind))
        assert (await resumed(second, steps)).outcome == "done"
        assert sent == []
        assert after == before

    run()


@pytest.mark.parametrize("kind", ["idempotent", "keyed"])
def test_an_effect_whose_outcome_was_lost_is_done_again_under_the_same_key(kind: str) -> None:
    @virtually
    async def run() -> None:
        first, before, _ = sender(kind)
        steps = await journal_of(first)
        second, sent, answered = sender(kind)
        assert (await resumed(second, steps[:3])).outcome == "done"
        assert sent == [before[1]]
        assert answered == ["sent first", "sent second"]

    run()


@pytest.mark.parametrize(
    ("found", "done_again", "value"),
    [(Happened("found it"), False, "found it"), (None, True, "sent first")],
    ids=["it did", "it did not"],
)
def test_a_reconcilable_effect_asks_its_target_what_happened(
    found: Happened | None, done_again: bool, value: str
) -> None:
    @virtually
    async def run() -> None:
        asked: list[str] = []

        async def reconcile(key: str) -> Happened | None:
            asked.append(key)
            return found

        first, before, _ = sender("reconcilable", no_idea)
        steps = await journal_of(first)
        second, sent, answered = sender("reconcilable", reconcile)
        assert (await resumed(second, steps[:1])).outcome == "done"
        assert asked == [before[0][0]]
        assert answered[0] == value
        assert (before[0] in sent) == done_again

    run()


@virtually
async def test_an_unsafe_effect_whose_outcome_was_lost_waits_for_a_person() -> None:
    first, before, _ = sender("unsafe")
    steps = await journal_of(first)
    second, sent, _ = sender("unsafe")
    discovery = await resumed(second, steps[:1])
    assert discovery.outcome == "waiting"
    (wait,) = discovery.waits
    assert (wait.kind, wait.path) == ("human", "unknown/mail/0")
    assert before[0][0] in wait.question
    assert sent == []


@pytest.mark.parametrize(
    ("answer", "first_is_sent", "outcome", "value"),
    [
        ("happened", False, "done", None),
        ({"happened": "by post"}, False, "done", "by post"),
        ("did not happen", True, "done", "sent first"),
        ("perhaps", False, "failed", None),
    ],
)
def test_a_person_settles_what_became_of_an_unsafe_effect(
    answer: object, first_is_sent: bool, outcome: str, value: object
) -> None:
    @virtually
    async def run() -> None:
        first, before, _ = sender("unsafe")
        steps = await journal_of(first)
        (wait,) = (await resumed(sender("unsafe")[0], steps[:1])).waits
        told = Step(
            kind="answer",
            path=wait.path,
            request=wait.request,
            value=Answer(value=answer).model_dump(mode="json", exclude_defaults=True),
        )
        again, sent, answered = sender("unsafe")
        discovery = await resumed(again, [steps[0], told])
        assert discovery.outcome == outcome
        assert (before[0] in sent) == first_is_sent
        assert answered[:1] == ([value] if outcome == "done" else [])

    run()


@virtually
async def test_a_call_that_failed_leaves_an_intent_and_its_second_try_has_the_same_key() -> None:
    keys: list[str] = []

    @agent("sender")
    async def send(context: Context) -> Discovery:
        async def call(key: str) -> str:
            keys.append(key)
            if len(keys) == 1:
                raise AgentFailure("transient", "no line")
            return "sent"

        await context.effect("mail", "letter", call, kind="keyed")
        return Discovery()

    async with rig(send) as swarm:
        await swarm.leader.dispatch("sender", token="first")
        assert (await swarm.discovery()).outcome == "failed"
        await swarm.leader.send(swarm.leader.tasks["first"].model_copy(update={"token": "second"}))
        swarm.leader.tasks["second"] = swarm.leader.tasks["first"].model_copy(update={"token": "second"})
        swarm.leader.extra["second"] = {"steps": recorded(swarm)}
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
    assert len(keys) == 2
    assert keys[0] == keys[1]


@virtually
async def test_an_intent_that_the_leader_refuses_is_not_acted_on_and_siblings_are_recorded() -> None:
    @agent("sender")
    async def send(context: Context) -> Discovery:
        async def read() -> int:
            return 1

        async def call(_key: str) -> str:
            raise AssertionError

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(context.step, "read", {}, read)
            with pytest.raises(AgentFailure, match="no disk"):
                await context.effect("mail", "letter", call)
        return Discovery()

    async with rig(send) as swarm:

        def refuse(request: object) -> RecordReply:
            unsafe = any(step.kind == "intent" for step in request.steps)
            return RecordReply(verdict="refused" if unsafe else "recorded", reason="no disk")

        swarm.leader.on_record = refuse
        await swarm.leader.dispatch("sender")
        assert (await swarm.discovery()).outcome == "done"
        assert [step.path for step in swarm.leader.records[-1].steps] == ["read"]


@virtually
async def test_branches_keep_their_effects_apart_in_any_order() -> None:
    def sending(order: tuple[str, ...]) -> tuple[Agent, dict[str, str]]:
        keys: dict[str, str] = {}

        @agent("sender")
        async def send(context: Context) -> Discovery:
            async def one(name: str) -> None:
                async def call(key: str) -> str:
                    keys[name] = key
                    return name

                with context.branch(name):
                    assert await context.effect("mail", "letter", call, kind="keyed") == name

            async with anyio.create_task_group() as tasks:
                for name in order:
                    tasks.start_soon(one, name)
            return Discovery()

        return send, keys

    first, keys = sending(("a", "b", "c"))
    steps = await journal_of(first)
    assert {step.path for step in steps} == {"a/mail", "b/mail", "c/mail"}
    kept = [step for step in steps if not (step.kind == "effect" and step.path == "b/mail")]
    second, again = sending(("c", "b", "a"))
    assert (await resumed(second, kept)).outcome == "done"
    assert again == {"b": keys["b"]}
