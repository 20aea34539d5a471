"""Steps, and what they hide, are what sorting all arms would say, after any changes."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from blackboard.events import MICRO
from coordinator.frontier.staircase import Arm, Estimate, Staircase
from tests.frontier.driver import direction

COUNTS = 12
ARMS = 16


def arms() -> list[Arm]:
    return [Arm(direction(number), spawned=False) for number in range(1, ARMS + 1)]


def heads(held: list[Arm]) -> list[Arm]:
    """The best of each bucket, by ascending count."""
    buckets: dict[int, list[Arm]] = defaultdict(list)
    for arm in held:
        buckets[arm.count].append(arm)
    return [min(buckets[count], key=lambda arm: (-arm.sum_micro, arm.opened)) for count in sorted(buckets)]


def check(stairs: Staircase, held: list[Arm]) -> None:
    found, steps = heads(held), list[Arm]()
    for head in found:
        if not steps or head.mean > steps[-1].mean:
            steps.append(head)
    assert stairs.steps == steps
    assert stairs.hides == (len(found) > len(steps))
    ends = [step.count for step in steps[1:]]
    for step, before in zip(steps, [*ends, COUNTS + 1], strict=False):
        hidden = [head for head in found if step.count < head.count < before]
        mean, end = stairs.hidden_by(step)
        assert mean == max([head.mean for head in hidden], default=-1.0)
        for needed in (-1.0, 0.25, 0.5):
            following = next((head for head in hidden if head.mean > needed), None)
            assert stairs.head(step.count + 1, end, needed) is following


@settings(max_examples=400)
@given(data=st.data())
def test_steps_and_what_they_hide(data: st.DataObject) -> None:
    stairs, outside, held = Staircase(), arms(), list[Arm]()
    quarters = st.integers(0, 4)
    for _ in range(data.draw(st.integers(1, 40))):
        if outside and (not held or data.draw(st.booleans())):
            arm = outside.pop(data.draw(st.integers(0, len(outside) - 1)))
            count = data.draw(st.integers(1, COUNTS))
            arm.stand(Estimate(count, count * data.draw(quarters) * MICRO // 4))
            stairs.add(arm)
            held.append(arm)
        else:
            arm = held.pop(data.draw(st.integers(0, len(held) - 1)))
            stairs.remove(arm)
            outside.append(arm)
        if data.draw(st.booleans()):
            check(stairs, held)
    check(stairs, held)


def test_an_arm_of_no_step_hides_none_of_another_bucket() -> None:
    stairs = Staircase()
    low, high, after = arms()[:3]
    for arm, count, sum_micro in ((high, 1, MICRO), (low, 2, MICRO), (after, 3, 2 * MICRO)):
        arm.stand(Estimate(count, sum_micro))
        stairs.add(arm)
    assert stairs.hidden_by(high)[0] == after.mean
    assert stairs.hidden_by(low)[0] < 0.0
