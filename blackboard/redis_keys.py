"""Names of the keys in Redis. What they hold is documented at the head of `append.lua`."""

from dataclasses import dataclass

from blackboard.store import ROW_KINDS, RowKind


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run. The run's id is the hash tag: in a cluster they lie in one slot."""

    root: str

    @property
    def meta(self) -> str:
        return f"{self.root}:meta"

    @property
    def lease(self) -> str:
        return f"{self.root}:lease"

    @property
    def log(self) -> str:
        return f"{self.root}:log"

    @property
    def artifacts(self) -> str:
        return f"{self.root}:art"

    @property
    def terms(self) -> str:
        return f"{self.root}:terms"

    @property
    def time(self) -> str:
        return f"{self.root}:time"

    @property
    def bodies(self) -> str:
        return f"{self.root}:bodies"

    @property
    def fixed(self) -> tuple[str, ...]:
        """The keys that a run has whatever is on its board; the lease is left out and expires by itself."""
        rows = [self.rows(kind) for kind in ROW_KINDS]
        return (*rows, self.log, self.artifacts, self.time, self.terms, self.bodies, self.meta)

    def rows(self, kind: RowKind) -> str:
        return f"{self.root}:row:{kind}"

    def index(self, term: str) -> str:
        return f"{self.root}:ix:{term}"

    def body(self, digest: str) -> str:
        return f"{self.root}:body:{digest}"

    def part(self, digest: str) -> str:
        """A body that has not come whole yet; always with a time-to-live."""
        return f"{self.root}:part:{digest}"


@dataclass(frozen=True, slots=True)
class Keyspace:
    """All keys of a store.

    `runs` and `active` are sorted sets of run ids by time of creation, written before the run itself:
    an id without a run is skipped by readers and dropped when it is an hour old.
    """

    prefix: str

    @property
    def runs(self) -> str:
        return f"{self.prefix}:runs"

    @property
    def active(self) -> str:
        return f"{self.prefix}:runs:active"

    @property
    def sync(self) -> str:
        """Written before a wait for the disk, which counts from a connection's own last write."""
        return f"{self.prefix}:sync"

    def shared(self, name: str) -> str:
        """A stream with the newest versions of a record of the whole swarm, under their numbers."""
        return f"{self.prefix}:shared:{name}"

    def run(self, run: str) -> Keys:
        return Keys(f"{self.prefix}:{{{run}}}")
