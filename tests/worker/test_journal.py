"""Steps that were recorded are answered from the record; new ones are recorded before they count."""

import hashlib
import json

import anyio
import pytest

from agents.agent import Agent, Context, Discovery, agent
from agents.journal import InvalidStep
from agents.observations import LeaseLost, StepReplayed
from protocol.artifacts import canonical_json
from protocol.messages import Asked, BodyRef, ErrorReply, RecordReply, RecordRequest, Step, Usage
from tests.worker.rig import rig, virtually


def step(path: str, request: object, value: object, occurrence: int = 0) -> Step:
    digest = hashlib.blake2b(canonical_json(request), digest_size=16).hexdigest()
    asked = Asked(text=canonical_json(request).decode())
    return Step(kind="pure", path=path, request=digest, occurrence=occurrence, value=value, asked=asked)


def asking(*requests: object, path: str = "ask") -> tuple[Agent, list[object], list[object]]:
    """An agent that makes these steps one after the other; what it called, and what it was answered."""
    called: list[object] = []
    answered: list[object] = []

    @agent("asker")
    async def asker(context: Context) -> Discovery:
        for request in requests:

            async def call(request: object = request) -> object:
                called.append(request)
                return {"fresh": request}

            answered.append(await context.step(path, request, call))
        return Discovery(reward=1.0)

    return asker, called, answered


@virtually
async def test_a_step_is_recorded_before_the_agent_goes_on() -> None:
    asker, called, answered = asking({"q": 1})
    async with rig(asker) as swarm:
        task = await swarm.leader.dispatch("asker")
        await swarm.discovery()
        (record,) = swarm.leader.records
        assert (record.task, record.token, record.worker, record.incarnation) == (
            task.task,
            task.token,
            "w1",
            "incarnation-1",
        )
        assert record.steps == (step("ask", {"q": 1}, {"fresh": {"q": 1}}),)
    assert called == [{"q": 1}]
    assert answered == [{"fresh": {"q": 1}}]


@virtually
async def test_recorded_steps_are_replayed_and_not_made_again() -> None:
    asker, called, answered = asking({"q": 1}, {"q": 1}, {"q": 2})
    known = [step("ask", {"q": 1}, "first"), step("ask", {"q": 1}, "second", 1)]
    async with rig(asker) as swarm:
        await swarm.leader.dispatch("asker", steps=known)
        await swarm.discovery()
        assert len(swarm.saw(StepReplayed)) == 2
    assert called == [{"q": 2}]
    assert answered == ["first", "second", {"fresh": {"q": 2}}]


@virtually
async def test_the_same_request_under_another_path_is_another_step() -> None:
    asker, called, _ = asking({"q": 1})
    async with rig(asker) as swarm:
        await swarm.leader.dispatch("asker", steps=[step("elsewhere", {"q": 1}, "no")])
        await swarm.discovery()
    assert called == [{"q": 1}]


@virtually
async def test_a_long_journal_is_fetched_page_by_page() -> None:
    requests = [{"q": number} for number in range(4)]
    asker, called, answered = asking(*requests)
    async with rig(asker) as swarm:
        recorded = [step("ask", request, request["q"]) for request in requests]
        swarm.leader.first_page = 1
        swarm.leader.steps_after = recorded[1:]
        await swarm.leader.dispatch("asker", steps=recorded[:1], steps_more=True)
        await swarm.discovery()
    assert called == []
    assert answered == [0, 1, 2, 3]


@virtually
async def test_concurrent_siblings_share_record_requests() -> None:
    @agent("siblings")
    async def siblings(context: Context) -> Discovery:
        async def one(number: int) -> None:
            async def call() -> int:
                return number

            assert await context.step("ask", number, call) == number

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(one, number)
        return Discovery()

    async with rig(siblings) as swarm:
        await swarm.leader.dispatch("siblings")
        await swarm.discovery()
        assert sorted(one.value for record in swarm.leader.records for one in record.steps) == list(range(50))
        assert len(swarm.leader.records) <= 3


@virtually
async def test_a_sibling_that_is_cancelled_while_it_records_does_not_lose_the_others_steps() -> None:
    @agent("siblings")
    async def siblings(context: Context) -> Discovery:
        async def one(number: int) -> None:
            async def call() -> int:
                return number

            await context.step("ask", number, call)

        async with anyio.create_task_group() as tasks:

            async def impatient() -> None:
                with anyio.move_on_after(1):
                    await one(0)

            tasks.start_soon(impatient)
            for number in range(1, 4):
                tasks.start_soon(one, number)
        return Discovery()

    async with rig(siblings) as swarm:
        silent = iter([None])
        swarm.leader.on_record = lambda request: next(silent, swarm.leader.record_all(request))
        await swarm.leader.dispatch("siblings")
        assert (await swarm.discovery()).outcome == "done"
        recorded = {one.value for record in swarm.leader.records[1:] for one in record.steps}
        assert recorded == {0, 1, 2, 3}


@virtually
async def test_a_record_without_a_reply_is_sent_again_unchanged() -> None:
    asker, called, _ = asking({"q": 1})
    async with rig(asker) as swarm:
        answers = iter([None, ErrorReply(error="operator", message="no store"), None])
        swarm.leader.on_record = lambda request: next(answers, swarm.leader.record_all(request))
        await swarm.leader.dispatch("asker")
        assert (await swarm.discovery()).outcome == "done"
        first, *others = swarm.leader.records
        assert len(others) == 3
        assert all(one == first for one in others)
    assert called == [{"q": 1}]


@virtually
async def test_a_stale_record_stops_the_task_and_nothing_is_published() -> None:
    asker, called, _ = asking({"q": 1}, {"q": 2})
    async with rig(asker, slots=1) as swarm:
        swarm.leader.on_record = lambda _: RecordReply(verdict="stale", reason="moved on")
        await swarm.leader.dispatch("asker")
        await swarm.until(lambda: bool(swarm.saw(LeaseLost)))
        await swarm.at_rest()
        await anyio.sleep(60)
        assert swarm.leader.discoveries == []
    assert called == [{"q": 1}]


@virtually
async def test_a_stale_record_ends_even_a_shielded_task() -> None:
    @agent("shielded")
    async def shielded(context: Context) -> Discovery:
        async def call() -> int:
            return 1

        with anyio.CancelScope(shield=True):
            await context.step("ask", {}, call)
        return Discovery()

    async with rig(shielded, slots=1) as swarm:
        swarm.leader.on_record = lambda _: RecordReply(verdict="stale", reason="moved on")
        await swarm.leader.dispatch("shielded")
        await swarm.until(lambda: bool(swarm.saw(LeaseLost)))
        await swarm.at_rest()
        assert swarm.leader.discoveries == []


@virtually
async def test_a_step_that_is_recorded_with_another_value_is_a_bug() -> None:
    asker, *_ = asking({"q": 1})
    async with rig(asker) as swarm:
        swarm.leader.on_record = lambda _: RecordReply(verdict="conflict", reason="step 'ask' (0)")
        await swarm.leader.dispatch("asker")
        failure = (await swarm.discovery()).failure
        assert failure is not None
        assert failure.kind == "bug"
        assert "another value" in failure.message


@virtually
async def test_a_large_value_travels_by_claim_check_and_comes_back() -> None:
    large = {"text": "x" * 700_000}
    answered: list[object] = []

    @agent("large")
    async def fetch_large(context: Context) -> Discovery:
        async def call() -> object:
            return large

        answered.append(await context.step("fetch", {}, call, usage=Usage(tokens_out=7)))
        return Discovery()

    async with rig(fetch_large) as swarm:
        await swarm.leader.dispatch("large")
        await swarm.discovery()
        recorded = swarm.leader.records[0].steps[0]
        raw = canonical_json(large)
        assert recorded.value is None
        assert recorded.body == BodyRef(digest=hashlib.sha256(raw).hexdigest(), size_bytes=len(raw))
        assert (recorded.kind, recorded.usage.tokens_out) == ("model", 7)
        assert len(swarm.leader.puts) == 2
        await swarm.leader.dispatch("large", steps=[recorded])
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
        assert len(swarm.leader.records) == 1
    assert answered == [large, large]


@pytest.mark.parametrize("levels", [20, 62, 300])
def test_a_value_too_deep_for_a_message_travels_by_claim_check_too(levels: int) -> None:
    deep = json.loads("[" * levels + "0" + "]" * levels)
    assert_comes_back(deep, apart=levels > 20)


def test_an_integer_too_long_for_a_message_travels_by_claim_check_too() -> None:
    assert_comes_back({"n": 2**63}, apart=True)
    assert_comes_back({"n": 2**63 - 1, "text": "9" * 30}, apart=False)


def assert_comes_back(value: object, *, apart: bool) -> None:
    answered: list[object] = []

    @agent("fetcher")
    async def fetcher(context: Context) -> Discovery:
        async def call() -> object:
            return value

        answered.append(await context.step("fetch", {}, call))
        return Discovery()

    @virtually
    async def run() -> None:
        async with rig(fetcher) as swarm:
            await swarm.leader.dispatch("fetcher")
            await swarm.discovery()
            (recorded,) = swarm.leader.records[0].steps
            assert (recorded.body is not None) == apart
            await swarm.leader.dispatch("fetcher", steps=[recorded])
            await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
            assert len(swarm.leader.records) == 1

    run()
    assert answered == [value, value]


@pytest.mark.parametrize("path", ["", "x" * 401, "\ud800", 5], ids=["none", "long", "surrogate", "number"])
def test_a_path_that_cannot_be_recorded_is_refused_before_the_call_is_paid_for(path: object) -> None:
    asker, called, _ = asking(1, path=path)

    @virtually
    async def run() -> None:
        async with rig(asker) as swarm:
            await swarm.leader.dispatch("asker")
            failure = (await swarm.discovery()).failure
            assert failure is not None
            assert (failure.kind, "a path " in failure.message) == ("bug", True)

    run()
    assert called == []


@virtually
async def test_many_medium_values_stay_within_a_messages_size() -> None:
    @agent("siblings")
    async def siblings(context: Context) -> Discovery:
        async def one(number: int) -> None:
            async def call() -> str:
                return f"{number}" + "x" * 15_000

            await context.step("ask", number, call)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)
        return Discovery()

    async with rig(siblings) as swarm:
        await swarm.leader.dispatch("siblings")
        await swarm.discovery()
        assert sum(len(record.steps) for record in swarm.leader.records) == 30
        sizes = [len(json.dumps(record.model_dump(mode="json"))) for record in swarm.leader.records]
        assert max(sizes) < 64 * 1024


@pytest.mark.parametrize(
    "value", [{1, 2}, float("nan"), object(), "\ud800"], ids=("set", "nan", "object", "surrogate")
)
def test_a_value_that_is_not_json_is_a_bug_that_names_the_step(value: object) -> None:
    @virtually
    async def run() -> None:
        @agent("odd")
        async def odd(context: Context) -> Discovery:
            async def call() -> object:
                return value

            await context.step("think", {}, call)
            return Discovery()

        async with rig(odd) as swarm:
            await swarm.leader.dispatch("odd")
            failure = (await swarm.discovery()).failure
            assert failure is not None
            assert failure.kind == "bug"
            assert f"{InvalidStep.__name__}: step 'think': its value is not JSON" in failure.message

    run()


@virtually
async def test_what_a_step_returns_is_the_same_at_first_and_on_replay() -> None:
    answered: list[object] = []

    @agent("tuples")
    async def tuples(context: Context) -> Discovery:
        async def call() -> object:
            return {"pair": (1, 2)}

        answered.append(await context.step("ask", {}, call))
        return Discovery()

    async with rig(tuples) as swarm:
        await swarm.leader.dispatch("tuples")
        await swarm.discovery()
        record: RecordRequest = swarm.leader.records[0]
        await swarm.leader.dispatch("tuples", steps=record.steps)
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
    assert answered == [{"pair": [1, 2]}] * 2
