"""Who gets which permits of a limit of the whole swarm: never too many, and to each run its share."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.decisions.limits import burst
from coordinator.permits import EAGER_MS, Allowance, due_ms, settled, told
from protocol.limits import Limit, LimitTable, Portion, Quota

NOBODY = Quota(kind="model", name="m")
THREE = Limit(concurrent=3)


def portion(run: str = "r", holder: str = "w", **counts: int) -> Portion:
    return Portion(subject="m", run=run, holder=holder, **counts)


def after(
    *said: Portion, limit: Limit = THREE, quota: Quota = NOBODY, now_ms: int = 0, gone: bool = False
) -> Quota:
    for one in said:
        quota = told(quota, one, now_ms)
    return settled(quota, limit, now_ms, lambda _: gone)


def in_use(quota: Quota) -> dict[str, int]:
    held: Counter[str] = Counter()
    for one in quota.portions:
        held[one.run] += one.in_use
    return dict(held)


def test_what_is_free_is_granted_and_no_more():
    quota = after(portion(wants=5))
    assert (quota.in_use, quota.waiting) == (3, 2)


def test_what_is_given_back_goes_to_who_waits():
    quota = after(portion("a", wants=5), portion("b", wants=0))
    quota = after(portion("b", wants=1), quota=quota)
    assert in_use(quota) == {"a": 3, "b": 0}
    quota = after(portion("a", granted=3, ended=1, wants=2), quota=quota)
    assert in_use(quota) == {"a": 2, "b": 1}


def test_runs_get_equal_shares_whatever_they_want_and_however_many_workers_they_have():
    said = [portion("a", f"w{n}", wants=9) for n in range(5)] + [portion("b", wants=2), portion("c", wants=1)]
    assert in_use(after(*said, limit=Limit(concurrent=9))) == {"a": 6, "b": 2, "c": 1}
    assert in_use(after(*said, limit=Limit(concurrent=4))) == {"a": 2, "b": 1, "c": 1}


def test_a_message_that_comes_twice_or_late_grants_nothing_more():
    first = portion(wants=2)
    quota = after(first, first)
    assert quota.in_use == 2
    quota = after(portion(granted=2, ended=2, wants=0), first, quota=quota)
    assert quota.portions == () or quota.in_use <= 2
    assert after(first, quota=after(first)).portions == after(first).portions


def test_a_holder_that_began_later_has_replaced_the_one_before():
    quota = after(portion(wants=3, since_ms=1))
    quota = after(portion(wants=1, since_ms=2), quota=quota)
    assert quota.in_use == 1
    assert after(portion(granted=3, since_ms=1), quota=quota) == quota


def test_who_is_gone_loses_what_he_had():
    quota = after(portion("a", wants=3))
    assert after(quota=quota, gone=True).portions == ()


def test_who_has_not_said_for_a_while_what_he_wants_is_granted_nothing():
    quota = after(portion("b", wants=1), quota=after(portion("a", wants=3)))
    later = EAGER_MS + 1
    assert in_use(after(portion("a", granted=3, ended=3), quota=quota, now_ms=later)) == {"b": 0}


def test_what_the_record_has_forgotten_is_in_use_again_once_its_holder_speaks():
    assert after(portion("a", granted=7, ended=5), portion("b", wants=3)).in_use == 3
    over = after(portion("a", granted=7), portion("b", wants=3))
    assert in_use(over) == {"a": 7, "b": 0}


def test_a_rate_spreads_what_begins_and_says_when_more_may():
    limit = Limit(per_minute=6)
    quota = after(portion(wants=3), limit=limit, now_ms=1_000)
    assert (quota.in_use, due_ms(quota, 1_000)) == (1, 10_000)
    quota = after(portion(granted=1, ended=1, wants=2), limit=limit, quota=quota, now_ms=10_999)
    assert quota.in_use == 0
    quota = after(portion(granted=1, ended=1, wants=2), limit=limit, quota=quota, now_ms=11_000)
    assert (quota.in_use, due_ms(quota, 21_000)) == (1, 0)


def test_under_a_rate_runs_take_turns_and_who_comes_later_gets_no_more_than_his_turn():
    limit = Limit(per_minute=60)
    runs, quota, now_ms = ["a"], NOBODY, 0
    got: dict[str, list[int]] = {run: [] for run in "abc"}
    for second in range(30):
        now_ms += 1_000
        if second == 20:
            runs = ["a", "b", "c"]
        said = [portion(run, granted=len(got[run]), ended=len(got[run]), wants=5) for run in runs]
        quota = after(*said, limit=limit, quota=quota, now_ms=now_ms)
        for one in quota.portions:
            if one.granted > len(got[one.run]):
                got[one.run].append(second)
    late = {run: sum(second >= 20 for second in times) for run, times in got.items()}
    assert sorted(late.values()) == [3, 3, 4]


def test_the_longest_name_that_fits_counts():
    table = LimitTable({"*": THREE, "openai/*": THREE, "openai/gpt-5": THREE})
    found = [table.find(model) for model in ("openai/gpt-5", "openai/other", "house")]
    assert found == ["openai/gpt-5", "openai/*", "*"]
    assert LimitTable({"a": THREE}).find("b") is None


def test_a_leader_dispatches_no_more_than_it_has_permits_for_and_gives_back_what_it_cannot_use():
    one = Allowance("dig", since_ms=1)
    assert one.bound(room=4, busy=0) == 0
    quota = after(one.told("dig", "r", busy=0, demand=9), limit=Limit(concurrent=2))
    assert one.learn(quota, "dig", "r")
    assert (one.bound(room=4, busy=0), one.bound(room=3, busy=1), one.spare) == (2, 1, 0)
    said = one.told("dig", "r", busy=1, demand=1)
    assert (said.granted, said.ended, said.wants) == (2, 1, 0)
    assert one.unused(busy=1) == 0


def test_a_new_leader_counts_what_is_under_way_even_if_its_clock_is_behind():
    old = Allowance("dig", since_ms=9)
    old.bound(3, 0)
    quota = after(old.told("dig", "r", busy=0, demand=3))
    new = Allowance("dig", since_ms=5)
    new.bound(room=1, busy=3)
    quota = after(new.told("dig", "r", busy=3, demand=4), quota=quota)
    assert not new.learn(quota, "dig", "r")
    quota = after(new.told("dig", "r", busy=3, demand=4), quota=quota)
    assert (quota.in_use, quota.waiting, new.since_ms) == (3, 1, 10)


TOKENS = Limit(tokens_per_minute=60_000)


def test_before_a_call_was_answered_one_is_made_at_a_time_and_then_as_many_as_their_average_allows():
    quota = after(portion(wants=9), limit=TOKENS)
    assert quota.in_use == 1
    quota = after(portion(granted=1, wants=9), limit=TOKENS, quota=quota, now_ms=5_000)
    assert (quota.in_use, due_ms(quota, 5_000)) == (1, 0)
    quota = after(
        portion(granted=1, ended=1, calls=1, tokens=250, wants=9), limit=TOKENS, quota=quota, now_ms=6_000
    )
    assert (quota.tokens_per_call, quota.in_use) == (250, 3)
    assert (quota.portions[0].reserved, due_ms(quota, 6_000)) == (750, 1)


def test_the_next_call_begins_when_those_before_it_are_paid_by_what_they_took():
    quota = after(portion(wants=1), limit=TOKENS)
    said = portion(granted=1, ended=1, calls=1, tokens=10_000, wants=1)
    quota = after(said, limit=TOKENS, quota=quota)
    assert (quota.in_use, due_ms(quota, 0)) == (0, 9_001)
    assert after(said, limit=TOKENS, quota=quota, now_ms=9_000).in_use == 0
    quota = after(said, limit=TOKENS, quota=quota, now_ms=9_001)
    assert quota.in_use == 1
    ended = portion(granted=2, ended=2, calls=2, tokens=10_500, wants=1)
    assert after(ended, limit=TOKENS, quota=quota, now_ms=9_501).in_use == 1


def test_a_call_that_failed_or_a_permit_that_was_not_used_is_charged_nothing():
    quota = after(portion(wants=1), limit=TOKENS)
    quota = after(
        portion(granted=1, ended=1, calls=1, tokens=5_000, wants=1), limit=TOKENS, quota=quota, now_ms=0
    )
    quota = after(
        portion(granted=1, ended=1, calls=1, tokens=5_000, wants=1), limit=TOKENS, quota=quota, now_ms=5_000
    )
    assert quota.in_use == 1
    before = quota.tokens_until_ms
    quota = after(portion(granted=2, ended=2, calls=1, tokens=5_000), limit=TOKENS, quota=quota, now_ms=5_000)
    assert (quota.tokens_until_ms, quota.tokens_per_call) == (before - 5_000, 5_000)


def test_what_a_holder_took_long_ago_is_not_charged_once_more_where_the_record_has_forgotten_it():
    quota = after(portion(wants=1), limit=TOKENS)
    quota = after(portion(granted=901, ended=901, calls=900, tokens=900_000), limit=TOKENS, quota=quota)
    assert (quota.tokens_until_ms, quota.tokens_per_call) == (1_000, 1_000)


calls_of_a_busy_model = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["end", "fail", "say", "say again"]), st.integers(1, 9_000)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(calls_of_a_busy_model)
def test_what_is_charged_in_the_end_is_what_calls_took_whatever_was_reserved_for_them(moves):
    holders = [Holder("ab"[n % 2], f"w{n}") for n in range(4)]
    quota, said = NOBODY, portion()
    for number, move, tokens in moves:
        holder = holders[number]
        holder.backlog = 1
        holder.hears(quota)
        if move in {"end", "fail"}:
            holder.ends(tokens if move == "end" else 0)
        said = said if move == "say again" else holder.says()
        quota = after(said, limit=TOKENS, quota=quota)
    for holder in holders:
        while holder.running:
            holder.ends(0)
        holder.backlog = 0
        holder.hears(quota)
        while holder.running:
            holder.ends(0)
        quota = after(holder.says(), limit=TOKENS, quota=quota)
    assert quota.in_use == 0
    assert abs(quota.tokens_until_ms - sum(holder.tokens for holder in holders)) < 1e-3


@dataclass
class Holder:
    """One that makes calls, as a worker does: it knows only what it was told."""

    run: str
    name: str
    granted: int = 0
    ended: int = 0
    running: int = 0
    backlog: int = 0
    calls: int = 0
    tokens: int = 0

    def says(self) -> Portion:
        unused = self.granted - self.ended - self.running
        wants = max(0, self.backlog - unused)
        counts = {"granted": self.granted, "ended": self.ended, "calls": self.calls, "tokens": self.tokens}
        return portion(self.run, self.name, wants=wants, **counts)

    def hears(self, quota: Quota) -> None:
        known = quota.portion(("m", self.run, self.name))
        if known is not None:
            self.granted, self.ended = max(self.granted, known.granted), max(self.ended, known.ended)
        begun = min(self.backlog, self.granted - self.ended - self.running)
        self.running += begun
        self.backlog -= begun
        self.ended = self.granted - self.running

    def ends(self, tokens: int = 0) -> None:
        if self.running:
            self.running -= 1
            self.ended += 1
            self.calls += bool(tokens)
            self.tokens += tokens


@dataclass
class World:
    limit: Limit
    holders: list[Holder]
    quota: Quota = NOBODY
    now_ms: int = 0
    sent: list[Portion] = field(default_factory=list)
    begun_ms: list[int] = field(default_factory=list)

    def deliver(self, said: Portion) -> None:
        merged = told(self.quota, said, self.now_ms)
        after_ = settled(merged, self.limit, self.now_ms, lambda _: False)
        old = {one.key: one.granted for one in merged.portions}
        grown = sum(one.granted - old[one.key] for one in after_.portions)
        self.begun_ms += [self.now_ms] * grown
        self.quota = after_


limits = st.builds(Limit, concurrent=st.integers(1, 5), per_minute=st.none() | st.floats(20, 6_000))
moves = st.lists(
    st.tuples(
        st.sampled_from(["want", "say", "deliver", "deliver again", "hear", "end", "time"]),
        st.integers(0, 99),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(limits, moves)
def test_whatever_order_messages_come_in_a_limit_is_never_exceeded_and_in_the_end_fully_used(limit, moves):
    world = World(limit, [Holder(run, name) for run in "ab" for name in ("w1", "w2")])
    for move, number in moves:
        holder = world.holders[number % len(world.holders)]
        match move:
            case "want":
                holder.backlog += 1 + number % 3
            case "say":
                world.sent.append(holder.says())
            case "deliver" if world.sent:
                world.deliver(world.sent.pop(number % len(world.sent)))
            case "deliver again" if world.sent:
                world.deliver(world.sent[number % len(world.sent)])
            case "hear":
                holder.hears(world.quota)
            case "end":
                holder.ends()
            case "time":
                world.now_ms += number * 10
            case _:
                pass
        assert sum(one.running for one in world.holders) <= limit.concurrent
        assert world.quota.in_use <= limit.concurrent
    _rate_holds(limit, world.begun_ms)
    for _ in range(3):
        world.now_ms += 60_000
        for holder in world.holders:
            world.deliver(holder.says())
        for holder in world.holders:
            world.deliver(holder.says())
            holder.hears(world.quota)
    running = sum(one.running for one in world.holders)
    left = sum(one.backlog for one in world.holders)
    if limit.per_minute is None:
        assert not left or running == limit.concurrent
    else:
        assert not left or running


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 6_000), st.lists(st.integers(0, 2_000), max_size=30))
def test_in_no_stretch_of_time_more_begins_than_the_rate_and_a_second_of_it_allow(per_minute, pauses):
    limit = Limit(per_minute=per_minute)
    quota, now_ms, granted = NOBODY, 0, 0
    begun_ms: list[int] = []
    for pause in pauses:
        now_ms += pause
        quota = after(
            portion(granted=granted, ended=granted, wants=200), limit=limit, quota=quota, now_ms=now_ms
        )
        (one,) = quota.portions
        begun_ms += [now_ms] * (one.granted - granted)
        granted = one.granted
    _rate_holds(limit, begun_ms)


def _rate_holds(limit: Limit, begun_ms: list[int]) -> None:
    if limit.per_minute is None:
        return
    spacing = 60_000 / limit.per_minute
    counts = sorted(Counter(begun_ms).items())
    for at, (first, _) in enumerate(counts):
        number = 0
        for last, many in counts[at:]:
            number += many
            assert number <= (last - first) / spacing + burst(limit.per_minute) + 1e-3


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=12))
def test_no_run_has_more_than_another_that_waits_but_for_one(concurrent, wants):
    said = [portion(f"r{run}", f"w{n}", wants=many) for n, (run, many) in enumerate(wants)]
    quota = after(*said, limit=Limit(concurrent=concurrent))
    held = in_use(quota)
    waiting = {one.run for one in quota.portions if one.wants}
    assert quota.in_use == min(concurrent, sum(many for _, many in wants))
    assert all(held[run] + 1 >= max(held.values()) for run in waiting)
