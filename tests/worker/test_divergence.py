"""Another request where the journal has a step: on record, under a policy, and never at an effect's cost."""

from collections.abc import Sequence

import anyio
import pytest

from agents.agent import Agent, AgentFailure, Context, Discovery, UnusableReply, agent
from protocol.messages import Answer, Divergence, Step, SwarmDiscovery, Usage
from tests.worker.rig import rig, virtually

Call = tuple[str, str]


def asking(*calls: Call, together: bool = False) -> tuple[Agent, list[str], list[object]]:
    """An agent that makes these steps and effects; what it did, and what it was answered."""
    made: list[str] = []
    answered: list[object] = []

    @agent("asker")
    async def asker(context: Context) -> Discovery:
        async def one(kind: str, request: str) -> None:
            async def read() -> str:
                await anyio.sleep(1)
                made.append(request)
                return f"fresh {request}"

            async def send(_key: str) -> str:
                return await read()

            if kind == "mail":
                answered.append(await context.effect("mail", request, send, kind="keyed"))
            else:
                answered.append(await context.step(kind, request, read))

        if together:
            async with anyio.create_task_group() as tasks:
                for call in calls:
                    tasks.start_soon(one, *call)
        else:
            for call in calls:
                await one(*call)
        return Discovery(reward=1.0)

    return asker, made, answered


async def ran(
    one: Agent, steps: Sequence[Step] = (), settings: dict[str, object] | None = None
) -> tuple[SwarmDiscovery, list[Step]]:
    async with rig(one) as swarm:
        await swarm.leader.dispatch("asker", steps=steps, settings=settings or {})
        discovery = await swarm.discovery()
        return discovery, [step for record in swarm.leader.records for step in record.steps]


ABC: tuple[Call, ...] = (("ask", "a"), ("ask", "b"), ("ask", "c"))


@virtually
async def test_the_task_goes_on_from_a_divergence_which_is_on_record_with_both_requests() -> None:
    _, journal = await ran(asking(*ABC)[0])
    again, made, answered = asking(("ask", "a"), ("ask", "x"), ("ask", "c"))
    discovery, steps = await ran(again, journal)
    assert discovery.outcome == "done"
    divergence, *fresh = steps
    assert (divergence.kind, divergence.path) == ("divergence", "ask")
    assert Divergence.model_validate(divergence.value) == Divergence(
        number=1, recorded='"b"', asked='"x"', verdict="went on", set_aside=(1, 2)
    )
    assert made == ["x", "c"], "what was recorded after a divergence is set aside"
    assert answered == ["fresh a", "fresh x", "fresh c"]
    assert [(step.request == journal[2].request, step.occurrence) for step in fresh] == [
        (False, 0),
        (True, 1),
    ]


@virtually
async def test_a_later_attempt_replays_what_came_after_the_divergence() -> None:
    _, journal = await ran(asking(*ABC)[0])
    changed = (("ask", "a"), ("ask", "x"), ("ask", "c"))
    _, steps = await ran(asking(*changed)[0], journal)
    again, made, answered = asking(*changed)
    discovery, new = await ran(again, [*journal, *steps])
    assert (discovery.outcome, made, new) == ("done", [], [])
    assert answered == ["fresh a", "fresh x", "fresh c"]


@virtually
async def test_a_run_may_forbid_divergence() -> None:
    _, journal = await ran(asking(*ABC)[0])
    again, made, _ = asking(("ask", "a"), ("ask", "x"))
    discovery, steps = await ran(again, journal, {"on_divergence": "fail"})
    assert discovery.failure is not None
    assert discovery.failure.kind == "user"
    assert "ask: the journal has another request" in discovery.failure.message
    assert [step.value["verdict"] for step in steps] == ["failed"]
    assert made == []


@virtually
async def test_a_policy_that_is_none_is_the_users_to_correct() -> None:
    discovery, _ = await ran(asking(*ABC)[0], (), {"on_divergence": "perhaps"})
    assert discovery.failure is not None
    assert (discovery.failure.kind, "on_divergence" in discovery.failure.message) == ("user", True)


@virtually
async def test_less_than_was_recorded_is_no_divergence_nor_is_more() -> None:
    _, journal = await ran(asking(*ABC)[0])
    for calls in (ABC[:1], (*ABC, ("ask", "d"))):
        discovery, steps = await ran(asking(*calls)[0], journal)
        assert discovery.outcome == "done"
        assert not any(step.kind == "divergence" for step in steps)


@virtually
async def test_siblings_may_come_in_any_order() -> None:
    _, journal = await ran(asking(*ABC, together=True)[0])
    assert all(step.together for step in journal)
    kept = [step for step in journal if step.value != "fresh b"]
    again, made, _ = asking(*reversed(ABC), ("ask", "d"), together=True)
    _, steps = await ran(again, kept)
    assert sorted(made) == ["b", "d"]
    assert not any(step.kind == "divergence" for step in steps)


@virtually
async def test_a_call_that_failed_is_made_again_in_its_place_without_a_divergence() -> None:
    def persistent(*, fails: bool) -> tuple[Agent, list[str]]:
        made: list[str] = []

        @agent("asker")
        async def asker(context: Context) -> Discovery:
            for request in "abc":

                async def call(request: str = request) -> str:
                    made.append(request)
                    if fails and request == "b":
                        raise AgentFailure("transient", "not now")
                    return request

                try:
                    await context.step("ask", request, call)
                except AgentFailure:
                    continue
            return Discovery()

        return asker, made

    first, _ = persistent(fails=True)
    _, journal = await ran(first)
    assert len(journal) == 2
    second, made = persistent(fails=False)
    _, steps = await ran(second, journal)
    assert made == ["b"]
    assert [step.kind for step in steps] == ["pure"]


WITH_MAIL: tuple[Call, ...] = (("ask", "a"), ("mail", "hello"), ("ask", "b"))


@virtually
async def test_an_effect_after_the_divergence_makes_the_task_wait_for_a_person() -> None:
    _, journal = await ran(asking(*WITH_MAIL)[0])
    again, made, _ = asking(("ask", "x"), ("mail", "hello"))
    discovery, steps = await ran(again, journal)
    assert (discovery.outcome, steps, made) == ("waiting", [], [])
    (wait,) = discovery.waits
    assert (wait.kind, wait.path, wait.choices) == ("human", "divergence/ask/0", ("go on", "fail"))
    assert "mail (0)" in wait.question
    assert '"a"' in wait.question
    assert '"x"' in wait.question


@pytest.mark.parametrize(("answer", "outcome"), [("go on", "done"), ("fail", "failed")])
def test_the_persons_word_counts_and_the_effect_is_not_repeated(answer: str, outcome: str) -> None:
    @virtually
    async def run() -> None:
        _, journal = await ran(asking(*WITH_MAIL)[0])
        changed = (("ask", "x"), ("mail", "hello"), ("ask", "b"))
        (wait,) = (await ran(asking(*changed)[0], journal))[0].waits
        told = Step(
            kind="answer",
            path=wait.path,
            request=wait.request,
            value=Answer(value=answer).model_dump(mode="json", exclude_defaults=True),
        )
        again, made, answered = asking(*changed)
        discovery, _ = await ran(again, [*journal, told])
        assert discovery.outcome == outcome
        assert "hello" not in made
        assert answered == (["fresh x", "fresh hello", "fresh b"] if answer == "go on" else [])

    run()


@virtually
async def test_another_effect_in_the_place_of_a_recorded_one_is_put_to_a_person_and_is_not_that_one() -> None:
    _, journal = await ran(asking(*WITH_MAIL)[0])
    changed = (("ask", "a"), ("mail", "goodbye"))
    waiting, _ = await ran(asking(*changed)[0], journal)
    (wait,) = waiting.waits
    assert wait.path == "divergence/mail/1"
    told = Step(
        kind="answer",
        path=wait.path,
        request=wait.request,
        value=Answer(value="go on").model_dump(mode="json"),
    )
    again, made, _ = asking(*changed)
    discovery, steps = await ran(again, [*journal, told])
    assert (discovery.outcome, made) == ("done", ["goodbye"])
    assert [(step.kind, step.occurrence) for step in steps] == [
        ("divergence", 1),
        ("intent", 1),
        ("effect", 1),
    ]
    once_more, made, _ = asking(*changed)
    await ran(once_more, [*journal, told, *steps])
    assert made == []


@virtually
async def test_a_branch_that_diverges_leaves_its_siblings_alone() -> None:
    def branching(first: str) -> tuple[Agent, list[str]]:
        made: list[str] = []

        @agent("asker")
        async def asker(context: Context) -> Discovery:
            async def one(name: str, requests: str) -> None:
                with context.branch(name):
                    for request in requests:

                        async def call(request: str = request) -> str:
                            made.append(request)
                            return request

                        await context.step("ask", request, call)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one, "left", first + "b")
                tasks.start_soon(one, "right", "cd")
            return Discovery()

        return asker, made

    _, journal = await ran(branching("a")[0])
    again, made = branching("x")
    _, steps = await ran(again, journal)
    assert sorted(made) == ["b", "x"]
    assert [step.path for step in steps if step.kind == "divergence"] == ["left/ask"]


def choosy(*, acts: bool) -> tuple[Agent, list[int]]:
    """An agent that is content with the third reply of its model; it may act before it complains."""
    asked: list[int] = []

    @agent("choosy")
    async def choosy(context: Context) -> Discovery:
        async def ask() -> int:
            asked.append(1)
            return len(asked)

        async def act(_key: str) -> None:
            return None

        reply = await context.step("ask", "how many?", ask, usage=Usage(model_calls=1))
        if acts:
            await context.effect("act", reply, act, kind="keyed")
        if reply != 3:
            raise UnusableReply(f"{reply} is not 3")
        return Discovery(reward=1.0)

    return choosy, asked


@virtually
async def test_a_reply_of_no_use_is_met_once_more_and_then_asked_for_anew() -> None:
    one, asked = choosy(acts=False)
    steps: list[Step] = []
    outcomes: list[str] = []
    for number in range(5):
        async with rig(one) as swarm:
            await swarm.leader.dispatch("choosy", token=f"t{number}", steps=steps)
            outcomes.append((await swarm.discovery()).outcome)
            steps += [step for record in swarm.leader.records for step in record.steps]
    assert outcomes == ["failed"] * 4 + ["done"]
    assert [step.kind for step in steps] == ["model", "divergence", "model", "divergence", "model"]
    assert "the same anew, for the reply is of no use: 1 is not 3" in steps[1].value["asked"]
    assert len(asked) == 3


@virtually
async def test_neither_a_reply_that_led_to_an_effect_nor_one_of_a_strict_run_is_set_aside() -> None:
    for acts, policy, kinds in ((True, "go_on", ["model", "intent", "effect"]), (False, "fail", ["model"])):
        one, asked = choosy(acts=acts)
        steps: list[Step] = []
        for number in range(3):
            async with rig(one) as swarm:
                settings = {"on_divergence": policy}
                await swarm.leader.dispatch("choosy", token=f"t{number}", steps=steps, settings=settings)
                assert (await swarm.discovery()).outcome == "failed"
                steps += [step for record in swarm.leader.records for step in record.steps]
        assert [step.kind for step in steps] == kinds
        assert len(asked) == 1
