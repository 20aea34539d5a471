"""What is used of nats-py, imported without aiohttp.

It imports aiohttp for WebSockets, which nobody here speaks; that costs every process a quarter of a second.
"""

import sys

_ABSENT = "aiohttp" not in sys.modules
if _ABSENT:
    sys.modules["aiohttp"] = None  # pyright: ignore[reportArgumentType] - so Python marks what can't be imported
try:
    from nats import errors
    from nats.aio.client import Client
    from nats.aio.subscription import Subscription
finally:
    if _ABSENT:
        del sys.modules["aiohttp"]

__all__ = ["Client", "Subscription", "errors"]
