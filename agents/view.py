"""The board as one agent of one run may see it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json

from agents.agent import AgentFailure, Found, Payload_co
from agents.board import Board
from protocol.artifacts import Artifact, ArtifactRegistry
from protocol.errors import UnknownArtifactType
from protocol.messages import GetReply, GetRequest, QueryReply, QueryRequest
from protocol.strict_json import first_problem

PAGE = 200
GET_IDS = 200


class BoardView:
    """View of `agent` in `run`. `moved` is called with every answer: reading is progress."""

    def __init__(self, board: Board, run: str, agent: str, moved: Callable[[], None]) -> None:
        self._board = board
        self._run = run
        self._agent = agent
        self._moved = moved

    async def get(self, ids: Sequence[str]) -> Sequence[Artifact]:
        """Artifacts by id, in that order, whole; those that are absent or hidden are left out."""
        found: dict[str, Artifact] = {}
        wanted = list(dict.fromkeys(ids))
        while wanted:
            asked = wanted[:GET_IDS]
            request = GetRequest(agent=self._agent, artifacts=tuple(asked))
            reply = await self._board.ask(self._run, "get", request, GetReply)
            self._moved()
            page = parse(reply.artifacts)
            found |= {artifact.id: await self.whole(artifact) for artifact in page}
            settled = found.keys() | set(reply.missing) if page else set(asked)
            wanted = [identity for identity in wanted if identity not in settled]
        return [found[identity] for identity in dict.fromkeys(ids) if identity in found]

    async def query(
        self,
        *,
        type: type[BaseModel] | str | None = None,
        tag: str | None = None,
        producer: str | None = None,
        correlation: str | None = None,
        text: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 50,
        cursor: int | None = None,
    ) -> tuple[Sequence[Artifact], int | None]:
        """One page and the cursor of the next. Bodies above the inline limit are named, not fetched."""
        request = QueryRequest(
            agent=self._agent,
            type=type if type is None or isinstance(type, str) else ArtifactRegistry.shared.name_of(type)[0],
            tag=tag,
            producer=producer,
            correlation=correlation,
            text=text,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=limit,
            cursor=cursor,
        )
        reply = await self._board.ask(self._run, "query", request, QueryReply)
        self._moved()
        return parse(reply.artifacts), reply.cursor

    async def all(self, payload: type[Payload_co], *, limit: int = 10_000) -> Sequence[Found[Payload_co]]:
        """Every artifact of a type, newest first, up to `limit`, with its body fetched and typed."""
        found: list[Found[Payload_co]] = []
        cursor: int | None = None
        while len(found) < limit:
            page, cursor = await self.query(type=payload, limit=min(PAGE, limit - len(found)), cursor=cursor)
            for artifact in page:
                complete = await self.whole(artifact)
                found.append(Found(complete, load(complete, payload)))
            if cursor is None:
                break
        return found

    async def whole(self, artifact: Artifact) -> Artifact:
        """The artifact with its payload, fetched where it travels by claim check."""
        if artifact.body is None or artifact.payload is not None:
            return artifact
        body = await self._board.body(self._run, self._agent, artifact.body)
        self._moved()
        payload: JsonValue = from_json(body)
        return artifact.model_copy(update={"payload": payload})


def parse(artifacts: Iterable[Any]) -> list[Artifact]:
    return [Artifact.model_validate(artifact) for artifact in artifacts]


def check_given(artifact: Artifact) -> None:
    """What an operator gave in the place of an input must fit its type, where this worker knows that.

    :raises AgentFailure: naming the field.
    """
    try:
        ArtifactRegistry.shared.load(artifact.type, artifact.version, artifact.payload)
    except UnknownArtifactType:
        return
    except ValidationError as error:
        field, problem = first_problem(error)
        raise AgentFailure(
            "user",
            f"artifact {artifact.id}, given in the place of input {artifact.parents[0]}, is no "
            f"{artifact.type}: {field}: {problem}; fork again with content of that type",
        ) from None


def load(artifact: Artifact, payload: type[Payload_co]) -> Payload_co:
    """The typed payload. A model that is not registered for the artifact's type is taken at its word.

    :raises ValueError: when the body was not fetched.
    :raises pydantic.ValidationError: when the payload does not fit the model.
    """
    if artifact.payload is None and artifact.body is not None:
        raise ValueError(f"artifact {artifact.id}: its body was not fetched; read it with board.get")
    return payload.model_validate(artifact.payload)
