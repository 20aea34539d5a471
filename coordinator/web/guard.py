"""Who may ask: the token, and what keeps web pages in a browser of this machine from asking."""

import hmac
from dataclasses import dataclass

from protocol.errors import UserError

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Unauthorized(UserError):
    """The request does not carry the token."""

    def __init__(self) -> None:
        super().__init__(
            "the token is missing or wrong; send `Authorization: Bearer` with the one of http.token"
        )


class Forbidden(UserError):
    """Nobody may ask this here."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")


@dataclass(frozen=True, slots=True)
class Guard:
    """With a token, whoever has it may do all. Without one this machine may, if no other can connect."""

    token: str
    loopback_only: bool

    def check(self, method: str, authorization: str, host: str, content_type: str) -> None:
        """Admits a request for runs.

        A page in a browser cannot send JSON to another site unasked, nor choose the name in `Host`: so
        where there is no token, both are looked at.

        :raises Unauthorized: without the token, where there is one.
        :raises Forbidden: where there is none, and the port is open to others, or a browser was tricked.
        """
        if self.token:
            scheme, _, given = authorization.partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(
                given.strip().encode(), self.token.encode()
            ):
                raise Unauthorized
            return
        if not self.loopback_only:
            raise Forbidden(
                "runs are not served to other machines without a token",
                "set http.token, or listen on 127.0.0.1",
            )
        if _name(host) not in LOCAL_NAMES:
            raise Forbidden(
                f"{host!r} is not a name of this machine", "ask 127.0.0.1 or localhost, or set http.token"
            )
        if method != "GET" and content_type.partition(";")[0].strip().lower() != "application/json":
            raise Forbidden("the body is not said to be JSON", "send `Content-Type: application/json`")


def _name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
