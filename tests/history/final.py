"""Reads the final state for the checker: what the store answers, as plain JSON."""

import json
from collections.abc import Sequence
from typing import Any

from coordinator.archive import Archive
from protocol.messages import QueryRequest


async def final_state(store: Any, runs: Sequence[str]) -> dict[str, dict]:
    """By run that is there. A log that was trimmed and not archived is None."""
    found: dict[str, dict] = {}
    for run in runs:
        whole = await store.rows(run, "run")
        if "totals" not in whole:
            continue
        log, position = [], 0
        archive = Archive(store, run)
        while page := await archive.after(position) or await store.log(run, after=position):
            log += [json.loads(one.event) for one in page]
            position = page[-1].position
        found[run] = {
            "spec": json.loads(whole["spec"]),
            "totals": json.loads(whole["totals"]),
            "tasks": _read(await store.rows(run, "task")),
            "directions": _read(await store.rows(run, "direction")),
            "artifacts": await _artifacts(store, run),
            "log": log if log and log[0][0] == "run_created" else None,
        }
    return found


async def _artifacts(store: Any, run: str) -> dict[str, dict]:
    """All that any agent may see."""
    found: dict[str, dict] = {}
    cursor: int | None = None
    while True:
        page = await store.query(run, QueryRequest(agent="checker", limit=100, cursor=cursor), now_ms=0)
        found |= {one["id"]: one for one in map(json.loads, page.artifacts)}
        cursor = page.cursor
        if cursor is None:
            return found


def _read(rows: dict[str, bytes]) -> dict[str, dict]:
    return {key: json.loads(row) for key, row in rows.items()}
