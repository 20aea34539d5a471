"""What an agent sees of the board."""

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict

from agents.agent import Context, Discovery, agent
from agents.board import CorruptBody
from protocol.artifacts import Artifact, Producer, artifact, canonical_json
from protocol.messages import BodyRef
from tests.support.fake_leader import FakeLeader
from tests.worker.rig import rig, virtually


@artifact("worker_page")
class Page(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


def post(leader: FakeLeader, number: int, text: str, *, by_body: bool = False) -> Artifact:
    raw = canonical_json({"text": text})
    digest = hashlib.sha256(raw).hexdigest()
    if by_body:
        leader.bodies[digest] = raw
    found = Artifact(
        id=f"art-{number}",
        run=leader.run,
        number=number,
        type="worker_page",
        payload=None if by_body else {"text": text},
        body=BodyRef(digest=digest, size_bytes=len(raw)) if by_body else None,
        digest=digest,
        producer=Producer(agent="other", task="task-0", attempt=1),
        direction="dir-0",
        created_ms=number,
    )
    leader.artifacts[found.id] = found
    return found


async def read(act: Any, prepare: Any, **grant: Any) -> Any:
    """Runs `act` on the context of a task, after `prepare` filled the leader's board."""
    found: list[Any] = []

    @agent("reader")
    async def reader(context: Context) -> Discovery:
        found.append(await act(context))
        return Discovery()

    async with rig(reader) as swarm:
        prepared = prepare(swarm.leader)
        await swarm.leader.dispatch("reader", **{key: make(prepared) for key, make in grant.items()})
        discovery = await swarm.discovery()
        assert discovery.failure is None, discovery.failure.traceback
    return found[0]


@virtually
async def test_inputs_that_did_not_fit_the_grant_are_fetched_in_their_order() -> None:
    async def act(context: Context) -> list[str]:
        return [context.load(one, Page).text for one in context.inputs]

    texts = await read(
        act,
        lambda leader: [post(leader, n, f"text {n}", by_body=n == 2) for n in range(1, 5)],
        inputs=lambda posted: [posted[0].model_dump(mode="json"), posted[1].model_dump(mode="json")],
        input_ids=lambda posted: [one.id for one in reversed(posted)],
    )
    assert texts == ["text 4", "text 3", "text 2", "text 1"]


@virtually
async def test_all_reads_every_page_newest_first_with_large_bodies() -> None:
    def prepare(leader: FakeLeader) -> None:
        for number in range(1, 451):
            post(leader, number, "x" * 250_000 if number == 7 else f"{number}", by_body=number == 7)

    async def act(context: Context) -> list[Any]:
        return list(await context.board.all(Page))

    found = await read(act, prepare)
    assert [one.artifact.number for one in found] == list(range(450, 0, -1))
    assert len(found[-7].payload.text) == 250_000


@virtually
async def test_a_query_is_one_page_and_a_cursor() -> None:
    async def act(context: Context) -> Any:
        first, cursor = await context.board.query(type=Page, limit=2)
        second, end = await context.board.query(type="worker_page", limit=2, cursor=cursor)
        return [one.number for one in first], [one.number for one in second], end

    prepare = lambda leader: [post(leader, number, "") for number in range(1, 4)]
    assert await read(act, prepare) == ([3, 2], [1], None)


@virtually
async def test_get_leaves_out_what_is_absent() -> None:
    async def act(context: Context) -> list[str]:
        return [one.id for one in await context.board.get(["art-2", "art-9", "art-1"])]

    prepare = lambda leader: [post(leader, number, "") for number in (1, 2)]
    assert await read(act, prepare) == ["art-2", "art-1"]


@virtually
async def test_a_body_with_another_digest_is_refused() -> None:
    async def act(context: Context) -> str:
        try:
            await context.board.all(Page)
        except CorruptBody as error:
            return str(error)
        return ""

    def prepare(leader: FakeLeader) -> None:
        posted = post(leader, 1, "right", by_body=True)
        leader.bodies[posted.digest] = leader.bodies[posted.digest].replace(b"right", b"wrong")

    assert "another digest" in await read(act, prepare)
