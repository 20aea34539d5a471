"""Every error that swarmboard raises on purpose, by who must act.

SwarmError
├── UserError                the input is wrong: change it
│   ├── InvalidMessage       a message, file or option that cannot be accepted; names the field
│   │   ├── MessageTooLarge
│   │   └── UnsupportedVersion
│   ├── NotFound             there is no such run, task, artifact …
│   ├── Overloaded           admission is refused for now; says when to try again
│   └── InvalidSettings      an option, environment variable or settings file is wrong
├── OperatorError            a server is down, missing or wrongly set up
│   ├── StoreUnavailable     Redis does not answer
│   ├── TransportUnavailable NATS does not answer
│   │   ├── NoResponder      nobody serves the subject of a request
│   │   └── ReplyTimeout     somebody may have served it, but no reply came in time
│   ├── BrokenArchive        old events of a run are not as they were put away
│   ├── ServerMissing        a server program is not installed
│   └── ServerFailed         an embedded server does not start, or does not stay up
├── FenceError               somebody else holds the authority now: stop, reload
│   ├── StaleLeader          the leader's token is no longer the run's
│   ├── HeadMismatch         the log's head is not where the writer left it
│   └── StaleEpoch           the lease on a task moved on
└── AuthorError              a bug in an agent or in swarmboard
    ├── ArtifactConflict     the same artifact id with another content
    ├── UnknownArtifactType  a type that nobody registered
    └── InvalidAgent         a declaration of an agent that cannot work
"""

from collections.abc import Sequence


class SwarmError(Exception):
    """Root of the tree."""


class UserError(SwarmError):
    """The input is wrong."""


class InvalidMessage(UserError):
    """A message that cannot be accepted.

    `field` is a dotted path, `problem` what is wrong there, `remedy` what to send instead.
    """

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class MessageTooLarge(InvalidMessage):
    """A body over its limit, refused before it is parsed."""

    def __init__(self, field: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            field,
            f"{size_bytes:,} bytes are more than the limit of {limit_bytes:,}",
            "send a smaller body, or put it by digest and name the digest",
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnsupportedVersion(InvalidMessage):
    """A major version of a schema that this build does not know."""

    def __init__(self, field: str, version: str, supported: Sequence[int]) -> None:
        known = ", ".join(str(major) for major in supported)
        super().__init__(
            field,
            f"version {version!r} is not supported",
            f"this build reads major versions {known}; upgrade the older side",
        )


class NotFound(UserError):
    """There is nothing under this id, or, without an id, nothing of the kind at all."""

    def __init__(self, kind: str, identity: str = "") -> None:
        super().__init__(f"no {kind} {identity!r}" if identity else f"there is no {kind}")
        self.kind = kind
        self.identity = identity


class Overloaded(UserError):
    """Admission is refused for now."""

    def __init__(self, what: str, limit: int, retry_after_seconds: float) -> None:
        super().__init__(f"{what}: the limit of {limit:,} is reached; try again in {retry_after_seconds:g} s")
        self.retry_after_seconds = retry_after_seconds


class InvalidSettings(UserError):
    """An option, environment variable or settings file is wrong."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        super().__init__(f"{name}: {problem}; {remedy}")
        self.name = name


class OperatorError(SwarmError):
    """A server is down, missing or wrongly set up."""


class StoreUnavailable(OperatorError):
    """Redis does not answer, or answers with an error that only an operator can mend."""

    def __init__(self, operation: str, cause: str) -> None:
        super().__init__(f"Redis: {operation} failed: {cause}")
        self.operation = operation


class TransportUnavailable(OperatorError):
    """NATS does not answer."""

    def __init__(self, operation: str, cause: str) -> None:
        super().__init__(f"NATS: {operation} failed: {cause}")
        self.operation = operation


class NoResponder(TransportUnavailable):
    """Nobody serves the subject of a request."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"request to {subject}", "no responder")


class ReplyTimeout(TransportUnavailable):
    """No reply came in time; the request may or may not have been served."""

    def __init__(self, subject: str, timeout_seconds: float) -> None:
        super().__init__(f"request to {subject}", f"no reply in {timeout_seconds:g} s")


class BrokenArchive(OperatorError):
    """Events of a run that have left its log are not in the archive as they were put there."""

    def __init__(self, first: int, last: int, problem: str) -> None:
        super().__init__(f"events {first:,} to {last:,} of the archive: {problem}")
        self.first = first
        self.last = last
        self.problem = problem


class ServerMissing(OperatorError):
    """A server program is not installed."""

    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} is not installed; {remedy}")
        self.program = program


class ServerFailed(OperatorError):
    """An embedded server does not start, or does not stay up. `log` holds the last lines that it wrote."""

    def __init__(self, program: str, problem: str, remedy: str, log: str = "") -> None:
        tail = f"\nlast lines of its log:\n{log}" if log else ""
        super().__init__(f"{program}: {problem}; {remedy}{tail}")
        self.program = program
        self.problem = problem
        self.remedy = remedy
        self.log = log


class FenceError(SwarmError):
    """Somebody else holds the authority now."""


class StaleLeader(FenceError):
    """The leader's token is no longer the run's."""

    def __init__(self, run: str) -> None:
        super().__init__(f"run {run} has another leader, or none")
        self.run = run


class HeadMismatch(FenceError):
    """The log's head is not where the writer left it: a store that was rolled back, or another writer."""

    def __init__(self, run: str, expected: int, actual: int) -> None:
        super().__init__(f"run {run}: the log ends at {actual}, not at {expected}")
        self.run = run
        self.expected = expected
        self.actual = actual


class StaleEpoch(FenceError):
    """The lease on a task moved on, or the task has ended."""

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(f"task {task}: {reason}")
        self.task = task
        self.reason = reason


class AuthorError(SwarmError):
    """A bug in an agent or in swarmboard."""


class ArtifactConflict(AuthorError):
    """The same artifact id with another content."""

    def __init__(self, artifact: str) -> None:
        super().__init__(f"artifact {artifact} exists with another content; artifacts are immutable")
        self.artifact = artifact


class UnknownArtifactType(AuthorError):
    """A type that nobody registered in this process."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"artifact type {name!r} version {version} is not registered; import the module that declares it"
        )


class InvalidAgent(AuthorError):
    """A declaration of an agent that cannot work."""

    def __init__(self, agent: str, problem: str) -> None:
        super().__init__(f"agent {agent!r}: {problem}")
