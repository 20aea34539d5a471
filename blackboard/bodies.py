"""Rules for bodies that arrive in chunks, the same in every store."""

import hashlib

from protocol.errors import InvalidMessage, MessageTooLarge

BODY_LIMIT_BYTES = 512 * 1024 * 1024
"""The most that Redis keeps under one key."""


def check_chunk(*, size_bytes: int, offset: int, length: int, received_bytes: int) -> None:
    """:raises InvalidMessage: when the chunk leaves a gap or runs over the size announced."""
    if size_bytes > BODY_LIMIT_BYTES:
        raise MessageTooLarge("size_bytes", size_bytes, BODY_LIMIT_BYTES)
    if offset > received_bytes:
        raise InvalidMessage(
            "offset",
            f"a chunk at {offset:,} leaves a gap, {received_bytes:,} bytes are here",
            f"send the chunk at {received_bytes}",
        )
    if offset + length > size_bytes:
        raise InvalidMessage(
            "data",
            f"{offset + length:,} bytes are more than the {size_bytes:,} announced",
            "announce the size of the whole body in every chunk",
        )


def wrong_digest(expected: str, actual: str) -> InvalidMessage:
    return InvalidMessage("digest", f"the bytes have {actual}, not {expected}", "send the body again from 0")


def check_body(digest: str, body: bytes) -> None:
    """:raises InvalidMessage: when the bytes do not have the digest."""
    actual = hashlib.sha256(body).hexdigest()
    if actual != digest:
        raise wrong_digest(digest, actual)
