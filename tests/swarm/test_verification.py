"""Old events are in the archive, and the fold of all is what the store holds; what differs is found."""

import json
import zlib
from collections.abc import Callable

import anyio
import pytest
from pydantic import BaseModel

from agents.agent import Context, Discovery, Posting, agent
from blackboard.encoding import decode_artifact, encode_artifact
from blackboard.memory import MemoryStore, Snapshot
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.store import ArtifactWrite
from coordinator.commands.compare import compared_runs
from coordinator.history import Point
from coordinator.records import Logged, Records, Trimmed
from coordinator.settings import Retention, Settings
from coordinator.verification.verdict import Verdict
from coordinator.verification.verify import verify
from protocol.artifacts import artifact, digest_of
from protocol.errors import BrokenArchive
from protocol.messages import INLINE_BODY_BYTES, FollowUp
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_forks import part
from tests.swarm.test_long_runs import settled

LOG_EVENTS, SEGMENT, TASKS = 60, 20, 60
RETENTION = Retention(log_events=LOG_EVENTS, segment_events=SEGMENT, journals=10, orphan_seconds=5)
ARCHIVED = Settings(retention=RETENTION)
TRIMMED = Settings(retention=RETENTION.model_copy(update={"archive": False}))


@artifact("verified_note")
class Note(BaseModel, frozen=True):
    text: str


@agent("note", publishes=[Note])
async def note(context: Context) -> Discovery:
    async def think() -> str:
        return f"a thought of {context.visit}. " * 20

    await context.step("think", {"visit": context.visit}, think)
    await anyio.sleep(1)
    large = "x" * (INLINE_BODY_BYTES + 1) if context.visit == 1 else ""
    return Discovery(artifacts=[Posting(Note(text=f"{context.visit}{large}"))], reward=0.5)


def notes(run: str = "run-1") -> RunSpec:
    return RunSpec(
        run=run,
        goal="note it",
        agents=(AgentSpec(name="note", publishes=("verified_note",), max_running=2),),
        roots=(FollowUp(agent="note", topic="the pressure"),),
        budget=Budget(tasks=TASKS),
    )


async def played(hive: Swarm, fail_overs: int = 3) -> None:
    """A run to its end, whose leaders are killed now and then."""
    hive.start_worker("w1", {"note": note}, slots=2)
    hive.start_coordinator("c0")
    await hive.submit(notes())
    for number in range(1, fail_overs + 1):
        await settled(hive, number * TASKS // (fail_overs + 1))
        hive.kill(f"c{number - 1}")
        hive.start_coordinator(f"c{number}")
    await hive.ended("run-1")


def test_what_leaves_the_log_is_archived_whoever_leads_and_a_run_can_be_followed_from_its_first_event():
    async def main() -> None:
        async with swarm(settings=ARCHIVED) as hive:
            await played(hive)
            head = await hive.store.head("run-1")
            assert LOG_EVENTS <= len(await hive.events("run-1")) <= LOG_EVENTS + 2 * SEGMENT
            told = [one async for one in Records(hive.store).follow("run-1")]
            assert all(isinstance(one, Logged) for one in told)
            assert [one.position for one in told] == list(range(1, head + 1))
            later = [one async for one in Records(hive.store).follow("run-1", after=SEGMENT + 3)]
            assert later == told[SEGMENT + 3 :]

    run_virtually(main)


def test_the_archive_holds_no_replies_of_models_and_still_proves_a_whole_journal(archived: Snapshot):
    run = archived.runs["run-1"]
    bodies = [json.loads(row)["body"]["digest"] for row in run.rows["segment"].values()]
    events = b"".join(zlib.decompress(run.bodies[body].data) for body in bodies)
    assert b'["steps_recorded"' in events
    assert b"a thought of" not in events
    whole = f"{last_task(run)}:000000"
    assert b"a thought of" in run.rows["step"][whole]


def test_healthy_runs_agree_with_their_events_after_trims_fail_overs_and_forks():
    async def main() -> None:
        async with swarm(settings=ARCHIVED) as hive:
            await played(hive)
            found = await verify(hive.store, "run-1")
            assert (found.proven, found.differences, found.moving) == (True, [], [])
            assert found.events == await hive.store.head("run-1")
            assert found.events - found.archived <= LOG_EVENTS + 2 * SEGMENT
            assert (found.artifacts, found.bodies) == (TASKS, 1)
            tasks = await Records(hive.store).tasks("run-1")
            await part(hive, "fork", Point(tasks[TASKS // 2].id))
            await hive.ended("run-2")
            forked = await verify(hive.store, "run-2")
            assert (forked.proven, forked.differences, forked.artifacts) == (True, [], TASKS)

    run_virtually(main)


def test_a_run_may_go_on_while_it_is_verified():
    async def main() -> None:
        async with swarm(settings=ARCHIVED) as hive:
            hive.start_worker("w1", {"note": note}, slots=2)
            hive.start_coordinator("c0")
            await hive.submit(notes())
            await settled(hive, 1)
            checked = 0
            while not (await hive.totals("run-1")).ended:
                found = await verify(SlowStore(hive.store), "run-1")
                assert (found.proven, found.differences) == (True, [])
                checked += 1
            assert checked >= 3

    run_virtually(main)


class SlowStore:
    """Each answer takes a while, in which the run goes on."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable:
        async def call(*arguments: object, **options: object) -> object:
            await anyio.sleep(0.05)
            return await getattr(self._store, name)(*arguments, **options)

        return call


@pytest.fixture(scope="module")
def archived() -> Snapshot:
    return snapshot(ARCHIVED)


@pytest.fixture(scope="module")
def trimmed() -> Snapshot:
    return snapshot(TRIMMED)


def snapshot(settings: Settings) -> Snapshot:
    kept: list[Snapshot] = []

    async def main() -> None:
        async with swarm(settings=settings) as hive:
            await played(hive, fail_overs=1)
            kept.append(hive.store.snapshot())

    run_virtually(main)
    return kept[0]


def verified(snapshot: Snapshot, damage: Callable = lambda _: None) -> Verdict:
    """What is found in a copy of a run that was damaged behind everybody's back."""
    store = MemoryStore(now=lambda: 0.0)
    store.restore(snapshot)
    damage(store._runs["run-1"])
    return anyio.run(verify, store, "run-1")


def alter(rows: dict, key: str, **fields: object) -> None:
    rows[key] = json.dumps({**json.loads(rows[key]), **fields}).encode()


def a_task(run) -> str:
    return sorted(run.rows["task"])[5]


def last_task(run) -> str:
    """Its journal is whole."""
    tasks = run.rows["task"]
    return max(tasks, key=lambda key: json.loads(tasks[key])["ended"])


def alter_first_segment(run) -> None:
    body = run.bodies[json.loads(run.rows["segment"]["000000000001"])["body"]["digest"]]
    body.data = body.data[:-1] + b"!"


def lose_first_segment(run) -> None:
    del run.rows["segment"]["000000000001"]


def swap_segments(run) -> None:
    """A body that is whole, and of other events."""
    rows = run.rows["segment"]
    alter(rows, "000000000001", body=json.loads(rows[f"{SEGMENT + 1:012d}"])["body"])


def forge_an_event(run) -> None:
    last, events = run.log[-20]
    run.log[-20] = (last, (b'["no_such_event",{}]', *events[1:]))


def lose_an_artifact(run) -> None:
    hide_an_artifact(run)
    del run.artifacts[next(one.id for one in run.artifacts.values() if one.number == 7)]


def hide_an_artifact(run) -> None:
    for entries in run.index.values():
        entries[:] = [entry for entry in entries if entry[0] != 7]


def _changed(write: ArtifactWrite, **fields: object) -> ArtifactWrite:
    artifact = decode_artifact(write.value)
    return encode_artifact(artifact.model_copy(update=fields))


def forge_an_artifact(run) -> None:
    """One that has the digest of what it now says."""
    write = next(one for one in run.artifacts.values() if one.number == 7)
    payload = {"text": "forged"}
    run.artifacts[write.id] = _changed(write, payload=payload, digest=digest_of(payload))


def add_an_artifact(run) -> None:
    """A second time, under an id of its own."""
    write = next(one for one in run.artifacts.values() if one.number == 7)
    extra = run.artifacts["art-extra"] = _changed(write, id="art-extra")
    for term in extra.terms:
        run.index[term].append((7, "art-extra"))
        run.index[term].sort()


def forge_a_live_row(run) -> None:
    run.rows["live"]["task:x"] = b""


def lose_the_end(run) -> None:
    run.head -= 1


def alter_statistics(run) -> None:
    for key in run.rows["direction"]:
        alter(run.rows["direction"], key, visits=7)


def alter_a_task(run) -> None:
    alter(run.rows["task"], a_task(run), visit=0)


def alter_a_step(run) -> None:
    alter(run.rows["step"], f"{last_task(run)}:000000", value="a thought of nobody. " * 20)


def alter_a_choice(run) -> None:
    row = json.loads(run.rows["choice"][a_task(run)])
    alter(run.rows["choice"], a_task(run), chosen={**row["chosen"], "direction": "dir-other"})


def break_a_task(run) -> None:
    run.rows["task"][a_task(run)] = b"{"


def add_a_task(run) -> None:
    run.rows["task"]["extra"] = b"{}"


DAMAGES = {
    "a row altered": (alter_a_task, "row", "visit is 0, by the events "),
    "statistics altered": (alter_statistics, "row", "visits is 7, by the events 60"),
    "totals altered": (lambda run: alter(run.rows["run"], "totals", refused=9), "row", "refused is 9"),
    "a row missing": (lambda run: run.rows["task"].pop(a_task(run)), "row", "is missing"),
    "a row too many": (add_a_task, "row", "no event has made it"),
    "a row unreadable": (break_a_task, "row", "cannot be read"),
    "a choice altered": (alter_a_choice, "row", "chose dir-other, the task is of dir-"),
    "a reply altered": (alter_a_step, "row", "is not what its event has made it"),
    "a live row too many": (forge_a_live_row, "row", "no event has made it"),
    "a whole journal forgotten": (lambda run: run.rows["journal"].popitem(), "row", "is missing"),
    "an artifact missing": (lose_an_artifact, "artifact", "is missing"),
    "an artifact hidden": (hide_an_artifact, "artifact", "cannot be found by queries"),
    "an artifact forged": (forge_an_artifact, "artifact", "is not what was posted"),
    "an artifact too many": (add_an_artifact, "artifact", "is there, and no event has posted it"),
    "an event gap": (lambda run: run.log.pop(-20), "log", "is missing: the log goes on with"),
    "an event forged": (forge_an_event, "log", "cannot be applied: KeyError"),
    "the end of the log lost": (lose_the_end, "log", "whose head is said to be"),
    "a segment altered": (alter_first_segment, "log", "does not have its digest"),
    "a segment lost": (lose_first_segment, "log", "the chain of digests is broken here"),
    "a segment of other events": (swap_segments, "log", "the chain of digests is broken here"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_planted_damage_is_found_and_named(archived: Snapshot, damage: str):
    plant, what, problem = DAMAGES[damage]
    found = verified(archived, plant)
    assert not found.sound
    assert [one.what for one in found.differences][:1] == [what]
    assert problem in found.differences[0].problem
    assert found.proven is (what != "log")


def test_a_body_that_an_artifact_names_is_read_whole(archived: Snapshot):
    def large(run) -> str:
        return next(one.body for one in run.artifacts.values() if one.body is not None)

    lost = verified(archived, lambda run: run.bodies.pop(large(run)))
    assert [(one.what, one.problem) for one in lost.differences] == [("body", "is missing")]

    def alter_body(run) -> None:
        body = run.bodies[large(run)]
        body.data = b"y" + body.data[1:]

    (altered,) = verified(archived, alter_body).differences
    assert (altered.what, altered.problem) == ("body", "has other bytes than its digest says")


def test_a_log_that_was_trimmed_for_good_is_checked_as_far_as_it_goes_and_not_called_proven(
    trimmed: Snapshot,
):
    found = verified(trimmed)
    assert (found.proven, found.sound, found.archived) == (False, True, 0)
    assert found.unproven.startswith("events 1 to ")
    assert "were not archived (retention.archive)" in found.unproven
    assert "set retention.archive = true before a run begins" in found.unproven
    altered = verified(trimmed, DAMAGES["statistics altered"][0]).differences
    assert [(one.what, one.problem) for one in altered] == [("statistics", "visits is 7, counted 60")]
    gap = verified(trimmed, DAMAGES["an event gap"][0]).differences
    assert [one.what for one in gap] == ["log"]
    unreadable = verified(trimmed, DAMAGES["a row unreadable"][0]).differences
    assert [one.problem for one in unreadable] == ["cannot be read"]


def test_a_run_whose_first_events_are_gone_for_good_forks_replays_and_compares_as_a_whole_one_does():
    """These read rows, which stay whatever leaves the log."""

    async def main() -> None:
        whole = RETENTION.model_copy(update={"archive": False, "journals": 100})
        async with swarm(settings=Settings(retention=whole)) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"note": note})
            await hive.submit(notes())
            await hive.ended("run-1")
            records = Records(hive.store)
            (gone,) = [one async for one in records.follow("run-1") if isinstance(one, Trimmed)]
            assert gone.first == 1
            tasks = await records.tasks("run-1")
            before = sum(0 < task.ended < tasks[5].began for task in tasks)
            assert (await part(hive, "fork", Point(tasks[5].id))).tasks == before > 0
            assert (await part(hive, "replay", Point(), run="run-3")).steps == TASKS
            for run in ("run-2", "run-3"):
                await hive.ended(run)
            assert (await compared_runs(records, "run-1", "run-3")).same
            assert len(await records.steps("run-1", tasks[0])) == 1

    run_virtually(main)


def test_whoever_follows_a_run_is_told_of_a_broken_archive_and_not_given_less(archived: Snapshot):
    store = MemoryStore(now=lambda: 0.0)
    store.restore(archived)
    alter_first_segment(store._runs["run-1"])

    async def follow() -> None:
        async for one in Records(store).follow("run-1"):
            assert not isinstance(one, Logged | Trimmed)

    with pytest.raises(BrokenArchive, match="events 1 to 20 of the archive"):
        anyio.run(follow)
