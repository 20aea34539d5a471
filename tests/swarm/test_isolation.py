"""What is wrong with one run must not cost the others anything."""

import anyio
import pytest

import coordinator.group_commit
from coordinator.decide import decide
from coordinator.decision import Commit
from coordinator.observations import LeaderLost
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


def test_a_run_whose_rows_cannot_be_read_is_reported_and_the_others_go_on():
    async def main() -> None:
        async with swarm() as hive:
            broken = await hive.submit(run_spec(run="broken"))
            hive.store._runs[broken].rows["run"]["totals"] = b"not JSON"
            sound = await hive.submit(run_spec(run="sound"))
            hive.start_coordinator()
            hive.start_worker("w1", thinker(1.0))
            assert (await hive.ended(sound)).status == "done"
            assert LeaderLost("broken", "failed") in hive.seen

    run_virtually(main)


def test_a_command_that_hits_a_bug_ends_the_lead_of_its_run_alone(monkeypatch: pytest.MonkeyPatch):
    strikes = 2

    def buggy(run, command, env):
        nonlocal strikes
        if isinstance(command, Commit) and command.discovery.run == "struck" and strikes:
            strikes -= 1
            raise KeyError("a bug")
        return decide(run, command, env)

    monkeypatch.setattr(coordinator.group_commit, "decide", buggy)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(1.0))
            runs = [await hive.submit(run_spec(run=name)) for name in ("struck", "sound")]
            with anyio.fail_after(600):
                for run in runs:
                    assert (await hive.ended(run)).status == "done"
                    await hive.check(run)
            assert sum(isinstance(seen, LeaderLost) and seen.reason == "failed" for seen in hive.seen) == 2

    run_virtually(main)
