"""Reading the board: by every condition, newest first, page by page, and never what one may not see."""

import pytest

from blackboard import redis_query
from blackboard.queries import INDEXED_WORDS, index_terms, query_terms, words
from blackboard.store import BlackboardStore
from protocol.artifacts import Producer
from protocol.messages import QueryRequest
from tests.store.building import NOW, add, artifact, ask, create, numbers, write

BOARD = (
    write(1, type="finding", tags=["red"], text="Cancellation spreads to every child"),
    write(2, type="finding", tags=["red", "blue"], correlation="c1", text="A shield stops cancellation"),
    write(3, type="report", tags=["blue"], producer=Producer(agent="writer", task="t", attempt=1)),
    write(4, type="finding", correlation="c1", text="Straße, naïve, ﬁne: 42"),
    write(5, type="finding", visibility=["writer"], text="secret"),
    write(6, type="finding", tags=["red"], expires_ms=NOW + 500, text="soon stale"),
)


async def a_board(store: BlackboardStore) -> None:
    head = await create(store)
    for item in BOARD:
        head = await add(store, head, item)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"type": "report"}, [3]),
        ({"type": "none"}, []),
        ({"tag": "red"}, [6, 2, 1]),
        ({"producer": "writer"}, [3]),
        ({"correlation": "c1"}, [4, 2]),
        ({"text": "CANCELLATION"}, [2, 1]),
        ({"text": "cancellation, shield!"}, [2]),
        ({"text": "strasse"}, [4]),
        ({"text": "fine 42"}, [4]),
        ({"text": "cancel"}, []),
        ({"text": " ?! "}, [6, 5, 4, 3, 2, 1]),
        ({"since_ms": NOW + 3}, [6, 5, 4, 3]),
        ({"until_ms": NOW + 3}, [3, 2, 1]),
        ({"since_ms": NOW + 2, "until_ms": NOW + 4}, [4, 3, 2]),
        ({"since_ms": NOW + 99}, []),
        ({"until_ms": 0}, []),
        ({"type": "finding", "tag": "red", "text": "cancellation"}, [2, 1]),
        ({"tag": "blue", "correlation": "c1"}, [2]),
        ({"tag": "red", "until_ms": NOW + 1}, [1]),
        ({"type": "report", "tag": "red"}, []),
        ({"cursor": 4}, [3, 2, 1]),
    ],
)
async def test_artifacts_are_found_by_each_condition_and_by_all_together(
    store: BlackboardStore, conditions: dict[str, object], expected: list[int]
):
    await a_board(store)
    assert await ask(store, **conditions) == expected
    assert await ask(store, **conditions, limit=1) == expected


@pytest.mark.anyio
async def test_private_artifacts_are_shown_to_those_named_to_their_producer_and_to_the_operator(
    store: BlackboardStore,
):
    await a_board(store)
    assert 5 not in await ask(store, agent="stranger")
    assert await ask(store, agent="stranger", text="secret") == []
    for agent in ("writer", "explorer", "*"):
        assert await ask(store, agent=agent, text="secret") == [5]


@pytest.mark.anyio
async def test_expired_artifacts_are_not_shown(store: BlackboardStore):
    await a_board(store)
    assert await ask(store, text="stale", now_ms=NOW + 499) == [6]
    assert await ask(store, text="stale", now_ms=NOW + 500) == []


@pytest.mark.anyio
async def test_a_run_without_artifacts_answers_with_nothing(store: BlackboardStore):
    await create(store)
    assert await ask(store) == await ask(store, since_ms=1, until_ms=2) == await ask(store, tag="x") == []


@pytest.mark.anyio
async def test_pages_hold_every_artifact_once_also_when_new_ones_arrive_between(store: BlackboardStore):
    head = await add(store, await create(store), *(write(n, tags=["t"]) for n in range(1, 121)))
    query = QueryRequest(agent="a", tag="t", limit=50)
    first = await store.query("run-1", query, now_ms=NOW)
    await add(store, head, *(write(n, tags=["t"]) for n in range(121, 131)))
    rest = await ask(store, tag="t", limit=50, cursor=first.cursor)
    assert numbers(first) + rest == list(range(120, 0, -1))


@pytest.mark.anyio
async def test_an_exact_last_page_has_no_cursor(store: BlackboardStore):
    await add(store, await create(store), *(write(n) for n in range(1, 11)))
    page = await store.query("run-1", QueryRequest(agent="a", limit=10), now_ms=NOW)
    assert (len(page.artifacts), page.cursor) == (10, None)


@pytest.mark.anyio
async def test_time_bounds_hold_although_a_clock_went_back(store: BlackboardStore):
    times = [100, 900, 300, 301, 950, 20, 960]
    await add(store, await create(store), *(write(n, created_ms=t) for n, t in enumerate(times, 1)))
    for since in (0, 20, 300, 301, 905, 961):
        for until in (19, 20, 100, 305, 950, 960):
            expected = [n for n, t in reversed(list(enumerate(times, 1))) if since <= t <= until]
            assert await ask(store, since_ms=since, until_ms=until, limit=2) == expected


@pytest.mark.anyio
async def test_a_search_for_a_needle_gives_up_early_with_a_cursor_that_goes_on(
    store: BlackboardStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_query, "SCAN_LIMIT", 20)
    hidden = {"visibility": ["somebody"]}
    await add(store, await create(store), write(1), *(write(n, **hidden) for n in range(2, 150)))
    assert await ask(store, agent="stranger", limit=5) == [1]


@pytest.mark.anyio
async def test_two_rare_terms_meet_among_many_artifacts(store: BlackboardStore):
    many = (
        write(n, tags=[f"mod7-{n % 7}", f"mod11-{n % 11}"], type="even" if n % 2 == 0 else "odd")
        for n in range(1, 400)
    )
    await add(store, await create(store), *many)
    expected = [n for n in range(399, 0, -1) if n % 7 == 3 and n % 11 == 5 and n % 2 == 0]
    assert await ask(store, tag="mod7-3", type="even", limit=2) == [
        n for n in range(399, 0, -1) if n % 7 == 3 and n % 2 == 0
    ]
    assert [n for n in await ask(store, tag="mod7-3", type="even") if n % 11 == 5] == expected


def test_words_are_normalised_distinct_and_in_order():
    assert words("The the  THE cat's x ﬁn_1 — Ünï") == ("the", "cat", "s", "x", "fin_1", "ünï")
    assert words("a" * 100) == ("a" * 32,)


def test_every_term_of_a_query_that_matches_is_a_term_of_the_artifact():
    item = artifact(1, tags=["x"], correlation="c", text="alpha beta")
    query = QueryRequest(
        agent="a", type="finding", tag="x", producer="explorer", correlation="c", text="beta alpha"
    )
    assert set(query_terms(query)) <= set(index_terms(item))
    assert query_terms(QueryRequest(agent="a")) == ("all",)


def test_the_index_of_a_long_text_is_bounded():
    item = artifact(1, text=" ".join(f"w{n}" for n in range(10_000)))
    assert len(index_terms(item)) == INDEXED_WORDS + 3
