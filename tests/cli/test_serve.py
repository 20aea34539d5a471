"""`coordinator serve` where it cannot go on."""

from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.cli.support import coordinator
from tests.support.rejecting import rejecting
from tests.support.servers import RedisServer


@pytest.mark.anyio
async def test_a_connection_that_is_closed_for_good_ends_it_as_unreachable(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with rejecting() as address:
        servers = {"SWARMBOARD_NATS_URL": address, "SWARMBOARD_REDIS_URL": redis_server.url}
        serve = partial(coordinator, "serve", "--port", "0", home=tmp_path, env=servers)
        answer = await anyio.to_thread.run_sync(serve)
        assert answer.code == 4, answer.err
        assert "protocol operation" in answer.err.lower(), "the server's own words"
